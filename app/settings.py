"""Every setting: name, default and help. Parsed once at start-up and passed to who needs it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from app.errors import InvalidRequest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class SavedQuery(BaseModel):
    """A SELECT that is offered as the dataset `source.name`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    name: str
    sql: str


class Settings(BaseSettings):
    """`rowfall.toml`, overridden by the environment (`ROWFALL_PORT`), overridden by flags."""

    model_config = SettingsConfigDict(env_prefix="ROWFALL_", frozen=True, extra="forbid")

    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8000
    state: Annotated[str, Field(description="State database: a file, or a `postgresql://` URL.")] = (
        "rowfall-state.db"
    )
    auth: Annotated[
        Literal["accounts", "none"],
        Field(description="`accounts`: sign in by the printed link. `none`: one local user, loopback only."),
    ] = "accounts"
    chunk_rows: Annotated[int, Field(ge=1, le=10_000, description="Rows of a chunk.")] = 1000
    page_chunks: Annotated[
        int, Field(ge=1, description="Chunks whose rows a page holds at once; the others load when near.")
    ] = 20
    page_rows: Annotated[
        int, Field(ge=1, le=600_000, description="Rows after which a report goes on on its next page.")
    ] = 500_000
    reports_per_user: Annotated[int, Field(ge=1, description="Running and queued reports of one person.")] = 5
    running_reports: Annotated[int, Field(ge=1, description="Reports this process runs at once.")] = 10
    report_timeout: Annotated[float, Field(gt=0, description="Seconds a report may run.")] = 300
    lease_seconds: Annotated[
        float, Field(gt=0, description="Seconds after which the report of a silent process is taken over.")
    ] = 8
    retention_days: Annotated[
        float, Field(gt=0, description="Days after which a report is deleted, unless its owner keeps it.")
    ] = 30
    spool_max_bytes: Annotated[
        int, Field(ge=0, description="Bytes that the rows and files of all reports may take; 0: no limit.")
    ] = 0
    spool_free_bytes: Annotated[
        int, Field(ge=0, description="Bytes that stay free on the disk of a state file; 0: none.")
    ] = 268_435_456
    ping_seconds: Annotated[float, Field(gt=0, description="Seconds between pings on a silent stream.")] = 15
    session_days: Annotated[float, Field(gt=0, description="Days until a person has to sign in again.")] = 30
    query: Annotated[
        tuple[SavedQuery, ...], Field(description="Saved queries: `[[query]]` with `source`, `name`, `sql`.")
    ] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(config: Path | None, **flags: Any) -> Settings:
    """The settings from `config`, the environment and the flags that are not None.

    Raises InvalidRequest with a line for each setting that does not fit.
    """

    class Configured(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = Configured(**given)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise InvalidRequest("The settings do not fit. " + "; ".join(lines) + ".") from error
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"The configuration {config} cannot be read: {error}.") from error
    return _checked(settings)


def _checked(settings: Settings) -> Settings:
    if settings.auth == "none" and settings.host not in LOOPBACK:
        raise InvalidRequest(
            f"--auth none lets everyone who reaches the server see everything, so it is allowed on this "
            f"computer only (127.0.0.1), not on {settings.host}. Leave out --auth none, or the host."
        )
    return settings
