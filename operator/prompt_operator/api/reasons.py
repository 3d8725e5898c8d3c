"""Every reason in conditions, AgentRollbacks and events: CamelCase, specific, stable.

Members are named as they are written, so that the code reads as the status does.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a condition or a phase is what it is."""

    # The content cannot be taken.
    PromptInvalid = "PromptInvalid"
    PromptTooLarge = "PromptTooLarge"
    TemplateInvalid = "TemplateInvalid"
    VariableUndeclared = "VariableUndeclared"
    VersionReused = "VersionReused"
    PromptQuarantined = "PromptQuarantined"

    # The target cannot be taken.
    VersionNotFound = "VersionNotFound"
    TargetQuarantined = "TargetQuarantined"
    TargetRejected = "TargetRejected"
    TargetContended = "TargetContended"

    # The ConfigMap cannot be written.
    ConfigMapConflict = "ConfigMapConflict"
    WaitingForCleanup = "WaitingForCleanup"

    # Gates.
    GatesInvalid = "GatesInvalid"
    TestsRunning = "TestsRunning"
    TestsFailed = "TestsFailed"
    TestNotRunnable = "TestNotRunnable"
    ABTestRunning = "ABTestRunning"
    ABTestPassed = "ABTestPassed"
    ABTestFailed = "ABTestFailed"
    Inconclusive = "Inconclusive"
    AwaitingApproval = "AwaitingApproval"
    NotAwaitingApproval = "NotAwaitingApproval"
    Approved = "Approved"
    RejectedByPerson = "RejectedByPerson"

    # After it shipped.
    Monitoring = "Monitoring"
    MetricErrored = "MetricErrored"
    NoBaseline = "NoBaseline"
    Regressed = "Regressed"
    AutoRollbackOff = "AutoRollbackOff"
    AutoRollbackFailed = "AutoRollbackFailed"
    CooldownActive = "CooldownActive"
    PersonDecided = "PersonDecided"

    # All is well, or on its way.
    Proposed = "Proposed"
    ABTestSkipped = "ABTestSkipped"
    Shipped = "Shipped"
    Shipping = "Shipping"
    Promoted = "Promoted"
    Reverted = "Reverted"
    RollingBack = "RollingBack"
    RolledBack = "RolledBack"
    Paused = "Paused"
    TargetActive = "TargetActive"
    NotQuarantined = "NotQuarantined"
    NotContended = "NotContended"

    # A candidate ended.
    Superseded = "Superseded"
    ManualRollback = "ManualRollback"
    NoRegression = "NoRegression"
    Quarantined = "Quarantined"

    # Healing.
    ConfigMapRestored = "ConfigMapRestored"
    RevisionRestored = "RevisionRestored"

    # An AgentRollback.
    DeploymentNotFound = "DeploymentNotFound"
    NoPreviousVersion = "NoPreviousVersion"
    AlreadyActive = "AlreadyActive"
    AmbiguousHash = "AmbiguousHash"
    NeverLive = "NeverLive"
    Expired = "Expired"
    AlreadyRun = "AlreadyRun"
