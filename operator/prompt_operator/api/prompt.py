"""The parts that more than one kind shares: the prompt itself, and what is said about a change of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from prompt_operator.api.content import MAX_CONTENT_BYTES
from prompt_operator.api.schema import ApiModel, Label, Line, Paragraph, Word

#: Free-form JSON, kept as it is written.
FreeForm = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
PromptText = Annotated[str, StringConstraints(max_length=MAX_CONTENT_BYTES)]
Identifier = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Message(ApiModel):
    """One message of a chat prompt: a role with its content, or a placeholder the agent fills with messages."""

    role: Literal["system", "developer", "user", "assistant", "tool"] | None = Field(
        default=None, description="Who speaks: system, developer, user, assistant or tool. Needs content."
    )
    content: PromptText | None = Field(default=None, description="What is said. A template if templateFormat says so.")
    placeholder: Identifier | None = Field(
        default=None, description="Name of a list of messages that the agent inserts here, such as the history."
    )


class Variable(ApiModel):
    """A value the agent passes when it renders the prompt."""

    name: Identifier = Field(description="Name as used in the template.")
    type: Literal["string", "number", "boolean", "array", "object"] | None = Field(
        default=None, description="JSON type of the value; absent means string."
    )
    required: bool | None = Field(default=None, description="Whether the agent must pass it; absent means true.")
    default: Paragraph | None = Field(default=None, description="Value used when the agent passes none.")
    description: Line | None = Field(default=None, description="What the value is, for those who write agents.")


class Model(ApiModel):
    """The model the prompt is written for. It is content: another model makes another version."""

    provider: Word | None = Field(default=None, description="Who serves the model, such as openai.")
    name: Word | None = Field(default=None, description="Name of the model, such as gpt-4o-mini.")
    parameters: FreeForm | None = Field(
        default=None, description="Parameters of the call, such as temperature. Free-form, kept as written."
    )


class Prompt(ApiModel):
    """The wanted content: all that the hash covers. At most 256 KiB in canonical form."""

    text: PromptText | None = Field(default=None, description="The prompt as one text. Either this or messages.")
    messages: list[Message] | None = Field(
        default=None, max_length=256, description="The prompt as chat messages. Either these or text."
    )
    template_format: Literal["none", "mustache", "fstring", "jinja2"] | None = Field(
        default=None,
        description="How the agent fills in variables; absent means none. The operator parses templates to find "
        "undeclared variables, and never renders them.",
    )
    variables: list[Variable] | None = Field(
        default=None,
        max_length=256,
        description="What the agent passes. With a templateFormat, every variable that is used must be declared.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    model: Model | None = Field(default=None, description="The model the prompt is written for.")
    tools: list[FreeForm] | None = Field(
        default=None,
        max_length=128,
        description="Tools offered to the model, each a free-form object kept as written.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    response_format: FreeForm | None = Field(
        default=None, description="The wanted form of the answer. Free-form, kept as written."
    )


class Change(ApiModel):
    """What is said about an edit. Copied to its revision, never hashed: a change here alone makes no candidate."""

    notes: Paragraph | None = Field(default=None, description="Promotion notes or deployment message.")
    rationale: Paragraph | None = Field(
        default=None, description="Why this prompt is expected to be better, in one sentence."
    )
    author: Line | None = Field(
        default=None,
        description="Claimed author, such as that of the Git commit. Shown as claimed, apart from the authenticated "
        "user.",
    )
    project: Label | None = Field(default=None, description="Project the change belongs to.")
    cluster_error: Paragraph | None = Field(
        default=None, description="The failure cluster this change answers. With project it makes the signature."
    )
    metadata: FreeForm | None = Field(default=None, description="Anything else to keep with the change. Free-form.")
