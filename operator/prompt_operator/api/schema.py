"""Building blocks of the models: bounded strings, and a base that reads and writes camelCase."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, WithJsonSchema
from pydantic.alias_generators import to_camel

from prompt_operator.api.content import HASH_PATTERN, HASH_PREFIX_PATTERN

#: The form of a label value, because agent and environment become labels.
_LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"

Label = Annotated[str, StringConstraints(max_length=63, pattern=_LABEL_VALUE)]
Word = Annotated[str, StringConstraints(max_length=128)]
ObjectName = Annotated[str, StringConstraints(max_length=253)]
Line = Annotated[str, StringConstraints(max_length=1024)]
Paragraph = Annotated[str, StringConstraints(max_length=8192)]
Hash = Annotated[str, StringConstraints(max_length=71, pattern=HASH_PATTERN)]
HashPrefix = Annotated[str, StringConstraints(max_length=71, pattern=HASH_PREFIX_PATTERN)]
#: Status holds an empty hash while there is none.
AnyHash = Annotated[str, StringConstraints(max_length=71)]
#: RFC 3339 in UTC. What orders events carries microseconds, since one second can see several switches.
#: Bounded, and of four-digit years: Python knows no year 0, which the API server's date-time lets through.
_TIME = {"type": "string", "format": "date-time", "maxLength": 35, "pattern": "^[1-9]"}
Time = Annotated[str, StringConstraints(max_length=35), WithJsonSchema(_TIME)]


class ApiModel(BaseModel):
    """Base of every model: camelCase outside, snake_case inside, frozen; ignores members it does not know."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def as_json(self) -> dict[str, Any]:
        """Return the object as it is written to the API."""
        return self.model_dump(by_alias=True, mode="json", exclude_none=True)
