"""What bears on a candidate besides its objects: Jobs of tests, what they said, and looks at the numbers.

Jobs come from the cluster. The rest lives in this process only, between the moment it was read and the status it is
written to; what is lost at a restart is read again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from prompt_operator.lifecycle.observed import Look, Setback, TestJob, TestOutcome

_Deployment = tuple[str, str]


class Evidence:
    """Evidence by namespace and deployment."""

    def __init__(self) -> None:
        self._jobs: defaultdict[_Deployment, dict[str, TestJob]] = defaultdict(dict)
        self._job_names: dict[tuple[str, str], _Deployment] = {}
        self._outcomes: defaultdict[_Deployment, dict[str, TestOutcome]] = defaultdict(dict)
        self._setbacks: defaultdict[_Deployment, dict[str, Setback]] = defaultdict(dict)
        self._failed_once: defaultdict[_Deployment, dict[str, bool]] = defaultdict(dict)
        self._looks: defaultdict[_Deployment, dict[str, Look]] = defaultdict(dict)
        self._looking: defaultdict[_Deployment, set[str]] = defaultdict(set)

    def find_job(self, namespace: str, name: str) -> TestJob | None:
        """Return a known Job."""
        deployment = self._job_names.get((namespace, name))
        return self._jobs[deployment].get(name) if deployment else None

    def put_job(self, job: TestJob) -> None:
        """Take in a Job."""
        deployment = (job.namespace, job.deployment)
        self._jobs[deployment][job.name] = job
        self._job_names[job.namespace, job.name] = deployment
        self.drop_setback(deployment, job.name)

    def remove_job(self, job: TestJob) -> None:
        """Forget a Job that is gone, and what it said."""
        deployment = (job.namespace, job.deployment)
        self._job_names.pop((job.namespace, job.name), None)
        self._drop(self._jobs, deployment, job.name)
        self._drop(self._outcomes, deployment, job.name)

    def jobs(self) -> Iterator[TestJob]:
        """Yield all known Jobs."""
        for of_deployment in self._jobs.values():
            yield from of_deployment.values()

    def note_outcome(self, deployment: _Deployment, job: str, outcome: TestOutcome) -> None:
        """Remember what an ended test said."""
        self._outcomes[deployment][job] = outcome
        self.drop_setback(deployment, job)

    def note_setback(self, deployment: _Deployment, name: str, setback: Setback) -> None:
        """Remember why a test could not be started or read, or an AgentRollback not be made."""
        self._setbacks[deployment][name] = setback

    def failed_before(self, deployment: _Deployment, name: str) -> bool:
        """Tell whether a request about that name has failed since the last that did not, and remember that it has."""
        before = self._failed_once.get(deployment, {}).get(name, False)
        self._failed_once[deployment][name] = True
        return before

    def drop_setback(self, deployment: _Deployment, name: str) -> None:
        """Forget a setback that was overcome."""
        self._drop(self._setbacks, deployment, name)
        self._drop(self._failed_once, deployment, name)

    def begin_look(self, deployment: _Deployment, name: str) -> None:
        """Remember that a look is being taken."""
        self._looking[deployment].add(name)

    def end_look(self, deployment: _Deployment, look: Look | None, name: str) -> None:
        """Take in what a look found, if anything. Of each deployment only the newest two ids are of interest.

        A look that is not under way, as of a deployment that is gone since it began, is ignored.
        """
        if name not in self._looking.get(deployment, ()):
            return
        self._looking[deployment].discard(name)
        if not self._looking[deployment]:
            del self._looking[deployment]
        if look:
            of_deployment = self._looks[deployment]
            of_deployment.pop(name, None)
            of_deployment[name] = look
            while len(of_deployment) > 2:  # noqa: PLR2004
                del of_deployment[next(iter(of_deployment))]

    def forget(self, deployment: _Deployment) -> None:
        """Forget what this process noted of a deployment that is gone."""
        for kept in (self._outcomes, self._setbacks, self._failed_once, self._looks, self._looking):
            kept.pop(deployment, None)

    def of(self, deployment: _Deployment, uid: str) -> Mapping[str, Any]:
        """Return the fields of Observed that are evidence. A namesake's Jobs are left out."""
        known = self._jobs.get(deployment)
        return {
            "jobs": {n: j for n, j in known.items() if j.owner_uid == uid} if known else {},
            "test_outcomes": self._outcomes.get(deployment, {}),
            "setbacks": self._setbacks.get(deployment, {}),
            "looks": self._looks.get(deployment, {}),
            "looking": frozenset(self._looking.get(deployment, ())),
        }

    @staticmethod
    def _drop(kept: defaultdict[_Deployment, dict[str, Any]], deployment: _Deployment, name: str) -> None:
        if deployment in kept:
            kept[deployment].pop(name, None)
            if not kept[deployment]:
                del kept[deployment]
