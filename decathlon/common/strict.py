"""The base of everything that is read from a JSON file and validated."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A frozen model without unknown fields, converted types, NaN or infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)
