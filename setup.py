"""Metadata, dependencies and entry points; the tools are configured in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """Returns the version in decathlon/__init__.py, read as text: an import would need torch."""
    text = (ROOT / "decathlon" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('decathlon/__init__.py has no line __version__ = "..."')
    return found.group(1)


# Built-in methods are found as a stranger's are: by these lines alone.
METHODS = [
    "scratch = methods.scratch:Scratch",
    "scratch-plus = methods.scratch_plus:ScratchPlus",
    "feature-extractor = methods.feature_extractor:FeatureExtractor",
    "fine-tuning = methods.fine_tuning:FineTuning",
    "bn-adapt = methods.bn_adapt:BNAdapt",
    "lwf = methods.lwf:LwF",
    "series-adapters = methods.series_adapters:SeriesAdapters",
    "parallel-adapters = methods.parallel_adapters:ParallelAdapters",
    "series-adapters-large = methods.series_adapters_large:SeriesAdaptersLarge",
    "series-adapters-decay = methods.series_adapters_decay:SeriesAdaptersDecay",
    "series-adapters-finetune-all = methods.series_adapters_finetune_all:FinetuneAll",
    "dan = methods.dan:DAN",
    "piggyback = methods.piggyback:Piggyback",
    "spottune-global-k = methods.spottune_global_k:SpotTuneGlobalK",
    "spottune = methods.spottune:SpotTune",
]
SUITES = ["visual-decathlon = decathlon.suites.visual_decathlon:SUITE"]

setup(
    name="decathlon",
    version=version(),
    description="The Visual Decathlon benchmark suite and its leaderboard scorer",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="visual-decathlon multi-domain-learning transfer-learning benchmark pytorch",
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["decathlon", "decathlon.*"]),
        "decathlon.published",
        "methods",
    ],
    # The literature's rows live beside a user's own results and are installed with the code.
    package_dir={"decathlon.published": "results/published"},
    package_data={
        "decathlon": ["py.typed", "**/*.html", "**/*.css", "**/*.js"],
        "decathlon.published": ["*/*.json"],
    },
    # Only what package_data names: not whatever else lies in the folders.
    include_package_data=False,
    install_requires=[
        "annotated-types>=0.6",
        "filelock>=3.30",
        "h5py>=3.10",
        "jinja2>=3.1",
        "lightning-fabric>=2.4",
        "matplotlib>=3.9",
        "numpy>=1.26",
        "pandas>=2.2",
        "pillow>=11.3",
        "pydantic>=2.12",
        "rich>=14.3",
        "safetensors>=0.6.2",
        "simplejpeg>=1.7.3",
        "torch>=2.8",
        "torchvision>=0.23",
        "typer>=0.28",
        # Checksums and unpacking three to five times as fast as the standard library's.
        "zlib-ng>=0.5",
    ],
    extras_require={
        "dev": [
            "hypothesis>=6.100",
            "import-linter>=2.3",
            "mypy>=1.15",
            "pandas-stubs>=2.2.0.240218",
            "pytest>=9.0",
            "pytest-xdist>=3.6.1",
            "ruff>=0.9",
            "scipy>=1.12",
            "setuptools>=77.0.1",
        ],
        "cluster": ["ray[default]>=2.55.1"],
        "track": ["tensorboard>=2.16.2"],
    },
    entry_points={
        "console_scripts": ["decathlon = decathlon.__main__:main"],
        "decathlon.methods": METHODS,
        "decathlon.suites": SUITES,
    },
)
