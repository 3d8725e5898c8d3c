"""Reading metrics: every kind of source, every arm, and one way to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import structlog

from prompt_operator.api.gates import HttpSource, JobSource, Kind, Metric, PrometheusSource
from prompt_operator.evaluation.readings import CANDIDATE, CONTROL, ArmAsked, LookAsked, Reading
from prompt_operator.evaluation.sources.addresses import AddressRules
from prompt_operator.evaluation.sources.arms import arm_of, numbers_of, parse_json
from prompt_operator.evaluation.sources.asking import Asker
from prompt_operator.evaluation.sources.credentials import Credentials, ReadSecret
from prompt_operator.evaluation.sources.fetching import Fetcher, url_of
from prompt_operator.evaluation.sources.problem import NoDataError, SourceError, shown
from prompt_operator.evaluation.sources.prometheus import endpoint_of, form_of, number_in, queries_of
from prompt_operator.evaluation.sources.resolving import Lookup, system_lookup
from prompt_operator.evaluation.sources.templates import fill_query, fill_url, values_of
from prompt_operator.evaluation.sources.turns import Asking, Limits

log = structlog.get_logger(__name__)

#: Runs the Job of a metric and returns the JSON object it ended with, or raises SourceError with a sentence.
RunJob = Callable[[LookAsked, Metric], Awaitable[Mapping[str, Any]]]
T = TypeVar("T")
Numbers = dict[str, float]
#: By arm, what was read of it, or that there is nothing to read.
Found = dict[str, Numbers | NoDataError]

#: A reading ends within so many times its timeoutSeconds: credentials, a turn, an answer.
_PATIENCE: Final = 3
_JOB_GRACE: Final = 60.0  # seconds more than the Job itself may take: it is made, and told of, by others
_OK: Final = 200
_JOB: Final = "The Job"


class SourceReader:
    """Reads what is asked for, as it is: nothing is computed, and nothing that is doubtful is passed on.

    Methods raise nothing but CancelledError; whatever goes wrong is the problem of a Reading, and of that one alone.
    To be made, used and closed in one event loop.
    """

    def __init__(
        self,
        secrets: ReadSecret,
        run_job: RunJob,
        rules: AddressRules,
        limits: Limits | None = None,
        *,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._asker = Asker(Fetcher(rules, limits or Limits(), lookup), Credentials(secrets))
        self._run_job = run_job

    async def close(self) -> None:
        """Close all connections. Readings that are under way then are to be cancelled before."""
        await self._asker.close()

    async def look(self, asked: LookAsked) -> dict[str, Reading]:
        """Read all metrics of a look at once, by their names."""
        readings = await asyncio.gather(*(self.read(asked, metric) for metric in asked.metrics))
        return {metric.name: reading for metric, reading in zip(asked.metrics, readings, strict=True)}

    async def read(self, asked: LookAsked, metric: Metric) -> Reading:
        """Read one metric: within three times the timeoutSeconds of its source, of a Job a minute more than that."""
        asked = asked.about(metric)
        try:
            found, no_control = _parted(await self._numbers(asked, metric))
        except SourceError as error:
            return Reading(problem=shown(str(error)))
        except Exception as error:
            # The text of an unforeseen error may hold anything, so it is for logs of the operator's, not for status.
            log.exception("unforeseen failure of a metric source", namespace=asked.namespace, name=asked.deployment)
            return Reading(problem=f"The source failed in an unforeseen way ({type(error).__name__}). See the logs.")
        control = found.get(CONTROL)
        return Reading(
            control=arm_of(control, asked.control.hash) if control and asked.control else None,
            candidate=arm_of(found[CANDIDATE], asked.candidate.hash),
            no_control=no_control,
        )

    async def _numbers(self, asked: LookAsked, metric: Metric) -> Found:
        """Return the numbers of each arm that was asked for, by its name."""
        match [s for s in (metric.source.prometheus, metric.source.http, metric.source.job) if s is not None]:
            case [JobSource() as job]:
                patience = job.timeout_seconds + _JOB_GRACE
                reading = self._of_job(asked, metric)
            case [PrometheusSource() as prometheus]:
                patience = _PATIENCE * float(prometheus.timeout_seconds)
                reading = self._of_prometheus(asked, metric.kind, prometheus)
            case [HttpSource() as http]:
                patience = _PATIENCE * float(http.timeout_seconds)
                reading = self._of_http(asked, metric.kind, http)
            case _:
                raise SourceError("A source is exactly one of prometheus, http and job.")
        try:
            async with asyncio.timeout(patience):
                return await reading
        except TimeoutError:
            raise SourceError(
                f"The source gave nothing within {patience:g} s. See why it is slow, or set timeoutSeconds higher."
            ) from None

    async def _of_prometheus(self, asked: LookAsked, kind: Kind, source: PrometheusSource) -> Found:
        """Run the queries: both arms at once, those of an arm one after the other, the inclusive count last.

        A scrape that is stored between two of them so adds to samples before it could add to successes.
        """
        endpoint = endpoint_of(source)
        filled = {
            arm: {n: fill_query(q, values_of(asked, of, arm)) for n, q in queries_of(source, kind).items()}
            for arm, of in _arms(asked).items()
        }

        async def read(arm: str, of: ArmAsked) -> Numbers | NoDataError:
            found: Numbers = {}
            for number, query in filled[arm].items():
                form = form_of(query, of.at, source.timeout_seconds)
                answer = await self._asker.ask(_who(asked), source, endpoint, form)
                try:
                    found[number] = number_in(answer, of.at, f"The query for {number} of {arm} at {_server(source)}")
                except NoDataError as nothing:
                    return nothing
            return found

        arms = _arms(asked)
        return dict(zip(arms, await _all(*(read(arm, of) for arm, of in arms.items())), strict=True))

    async def _of_http(self, asked: LookAsked, kind: Kind, source: HttpSource) -> Found:
        """Ask once for both arms, of which {{hash}} is the candidate's; arms of different spans are asked for apart."""
        arms = _arms(asked)
        if len({(of.since, of.at) for of in arms.values()}) == 1:
            return await self._ask_http(asked, kind, source, tuple(arms), asked.candidate)
        found = await _all(*(self._ask_http(asked, kind, source, (arm,), of) for arm, of in arms.items()))
        return {arm: numbers for part in found for arm, numbers in part.items()}

    async def _ask_http(
        self, asked: LookAsked, kind: Kind, source: HttpSource, arms: tuple[str, ...], about: ArmAsked
    ) -> Found:
        values = values_of(asked, about, "")
        del values["arm"]  # one answer is about both
        url = url_of(fill_url(source.url, values))
        answer = await self._asker.ask(_who(asked), source, url)
        who = f"{url.host}:{url.port}"
        if answer.status != _OK:
            raise SourceError(f"{who} answered {answer.status}, not 200. See its logs, and bearerToken.")
        said = parse_json(answer.body, who)
        return {arm: _numbers_of(said, arm, kind, who) for arm in arms}

    async def _of_job(self, asked: LookAsked, metric: Metric) -> Found:
        """Have the Job run once for both arms."""
        said = await self._run_job(asked, metric)
        return {arm: _numbers_of(said, arm, metric.kind, _JOB) for arm in _arms(asked)}


def _arms(asked: LookAsked) -> dict[str, ArmAsked]:
    """Return the arms that are asked for, by their names."""
    control = {CONTROL: asked.control} if asked.control else {}
    return {**control, CANDIDATE: asked.candidate}


def _numbers_of(said: Any, arm: str, kind: Kind, who: str) -> Numbers | NoDataError:
    try:
        return numbers_of(said, arm, kind, who)
    except NoDataError as nothing:
        return nothing


def _parted(found: Found) -> tuple[dict[str, Numbers], str]:
    """Return the numbers there are, and why there are none of the control; without any of the candidate, raise that."""
    if isinstance(nothing := found[CANDIDATE], NoDataError):
        raise nothing
    why = next((shown(str(one)) for one in found.values() if isinstance(one, NoDataError)), "")
    return {arm: one for arm, one in found.items() if not isinstance(one, NoDataError)}, why


def _who(asked: LookAsked) -> Asking:
    return asked.namespace, asked.deployment


def _server(source: PrometheusSource) -> str:
    url = url_of(source.address)
    return f"{url.host}:{url.port}"


async def _all(*parts: Coroutine[Any, Any, T]) -> list[T]:
    """Do all at once; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
