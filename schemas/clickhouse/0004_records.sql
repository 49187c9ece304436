-- What Homeostat saw, decided and did: one table a record type, in the style of the telemetry tables (PascalCase, Timestamp, ServiceName,
-- TraceId, attribute maps), so that joins read naturally. Useful scalars are columns; nested parts are JSON text.
--
-- A record keeps its id, RecordId, however often it is delivered. Replacing by RecordId leaves one row; the first one stored wins
-- (Precedence falls as StoredAt grows), so StoredAt tells when the record became readable. Readers that count use FINAL.
-- Inserts are fsynced here, unlike telemetry: this is the proof, and its rate is small.

-- Anomalies: a series left what was expected of it (open), still does (update), or came back (close).
CREATE TABLE IF NOT EXISTS {database}.homeostat_anomalies (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    AnomalyId String CODEC(ZSTD(1)),
    Status LowCardinality(String) CODEC(ZSTD(1)),
    Detector LowCardinality(String) CODEC(ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    Entity LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    Signal LowCardinality(String) CODEC(ZSTD(1)),
    MetricName LowCardinality(String) CODEC(ZSTD(1)),
    MetricUnit LowCardinality(String) CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    Series String CODEC(ZSTD(1)),
    Severity LowCardinality(String) CODEC(ZSTD(1)),
    Direction LowCardinality(String) CODEC(ZSTD(1)),
    Observed Nullable(Float64) CODEC(ZSTD(1)),
    Expected Nullable(Float64) CODEC(ZSTD(1)),
    Lower Nullable(Float64) CODEC(ZSTD(1)),
    Upper Nullable(Float64) CODEC(ZSTD(1)),
    Score Float64 CODEC(ZSTD(1)),
    Threshold Float64 CODEC(ZSTD(1)),
    Samples UInt64 CODEC(ZSTD(1)),
    Since DateTime64(9) CODEC(ZSTD(1)),
    DetectedAt DateTime64(9) CODEC(ZSTD(1)),
    Shadow Bool,
    Reason String CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Incidents: every version of the whole state; homeostat_incidents_latest has the last one.
CREATE TABLE IF NOT EXISTS {database}.homeostat_incidents (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    IncidentId String CODEC(ZSTD(1)),
    Version UInt32 CODEC(ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    Entity LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    Status LowCardinality(String) CODEC(ZSTD(1)),
    Severity LowCardinality(String) CODEC(ZSTD(1)),
    Title String CODEC(ZSTD(1)),
    Signature LowCardinality(String) CODEC(ZSTD(1)),
    CauseScore Nullable(Float64) CODEC(ZSTD(1)),
    StartedAt DateTime64(9) CODEC(ZSTD(1)),
    OpenedAt DateTime64(9) CODEC(ZSTD(1)),
    UpdatedAt DateTime64(9) CODEC(ZSTD(1)),
    HealedAt Nullable(DateTime64(9)) CODEC(ZSTD(1)),
    ResolvedAt Nullable(DateTime64(9)) CODEC(ZSTD(1)),
    Resolution LowCardinality(String) CODEC(ZSTD(1)),
    Attempts UInt32 CODEC(ZSTD(1)),
    MembersCount UInt32 CODEC(ZSTD(1)),
    MembersOmitted UInt32 CODEC(ZSTD(1)),
    AnomalyIds Array(String) CODEC(ZSTD(1)),
    UnknownEntities Array(String) CODEC(ZSTD(1)),
    Causes String CODEC(ZSTD(1)),
    Members String CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Decisions: what was chosen for an incident and why; every guard with its inputs in Guards.
CREATE TABLE IF NOT EXISTS {database}.homeostat_decisions (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    DecisionId String CODEC(ZSTD(1)),
    IncidentId String CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    Target LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    Policy LowCardinality(String) CODEC(ZSTD(1)),
    PolicyVersion LowCardinality(String) CODEC(ZSTD(1)),
    Runbook LowCardinality(String) CODEC(ZSTD(1)),
    RunbookVersion LowCardinality(String) CODEC(ZSTD(1)),
    Autonomy LowCardinality(String) CODEC(ZSTD(1)),
    Outcome LowCardinality(String) CODEC(ZSTD(1)),
    BlockedBy Array(LowCardinality(String)) CODEC(ZSTD(1)),
    CommandId String CODEC(ZSTD(1)),
    Attempt UInt32 CODEC(ZSTD(1)),
    IncidentOpenedAt DateTime64(9) CODEC(ZSTD(1)),
    Reason String CODEC(ZSTD(1)),
    Guards String CODEC(ZSTD(1)),
    Candidates String CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Commands: signed orders to an actuator.
CREATE TABLE IF NOT EXISTS {database}.homeostat_commands (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    CommandId String CODEC(ZSTD(1)),
    IncidentId String CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    DecisionId String CODEC(ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    Target LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    Runbook LowCardinality(String) CODEC(ZSTD(1)),
    RunbookVersion LowCardinality(String) CODEC(ZSTD(1)),
    Policy LowCardinality(String) CODEC(ZSTD(1)),
    PolicyVersion LowCardinality(String) CODEC(ZSTD(1)),
    Attempt UInt32 CODEC(ZSTD(1)),
    Risk LowCardinality(String) CODEC(ZSTD(1)),
    Cost Float64 CODEC(ZSTD(1)),
    StepsCount UInt32 CODEC(ZSTD(1)),
    StartedAt DateTime64(9) CODEC(ZSTD(1)),
    IssuedAt DateTime64(9) CODEC(ZSTD(1)),
    ExpiresAt DateTime64(9) CODEC(ZSTD(1)),
    Fence UInt64 CODEC(ZSTD(1)),
    Nonce String CODEC(ZSTD(1)),
    KeyId LowCardinality(String) CODEC(ZSTD(1)),
    Signature String CODEC(ZSTD(1)),
    Steps String CODEC(ZSTD(1)),
    Incident String CODEC(ZSTD(1)),
    Cause String CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Outcomes: the one terminal record of a command, with its steps and the evidence taken before acting.
CREATE TABLE IF NOT EXISTS {database}.homeostat_outcomes (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    OutcomeId String CODEC(ZSTD(1)),
    CommandId String CODEC(ZSTD(1)),
    IncidentId String CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    DecisionId String CODEC(ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    Target LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    Runbook LowCardinality(String) CODEC(ZSTD(1)),
    Policy LowCardinality(String) CODEC(ZSTD(1)),
    Attempt UInt32 CODEC(ZSTD(1)),
    Verdict LowCardinality(String) CODEC(ZSTD(1)),
    Reason String CODEC(ZSTD(1)),
    RefusedBy LowCardinality(String) CODEC(ZSTD(1)),
    ReceivedAt DateTime64(9) CODEC(ZSTD(1)),
    BegunAt Nullable(DateTime64(9)) CODEC(ZSTD(1)),
    HealedAt Nullable(DateTime64(9)) CODEC(ZSTD(1)),
    RecordedAt DateTime64(9) CODEC(ZSTD(1)),
    Cost Float64 CODEC(ZSTD(1)),
    Escalated Bool,
    StepsCount UInt32 CODEC(ZSTD(1)),
    StepsApplied UInt32 CODEC(ZSTD(1)),
    StepsUndone UInt32 CODEC(ZSTD(1)),
    UndosFailed UInt32 CODEC(ZSTD(1)),
    Steps String CODEC(ZSTD(1)),
    Evidence String CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Checks: one row for each check result of a step, as read from raw signals.
CREATE TABLE IF NOT EXISTS {database}.homeostat_checks (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    OutcomeId String CODEC(ZSTD(1)),
    CommandId String CODEC(ZSTD(1)),
    IncidentId String CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    Target LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    StepName LowCardinality(String) CODEC(ZSTD(1)),
    IdempotencyKey String CODEC(ZSTD(1)),
    CheckName LowCardinality(String) CODEC(ZSTD(1)),
    CheckType LowCardinality(String) CODEC(ZSTD(1)),
    Result LowCardinality(String) CODEC(ZSTD(1)),
    Value Nullable(Float64) CODEC(ZSTD(1)),
    Samples UInt64 CODEC(ZSTD(1)),
    Expect String CODEC(ZSTD(1)),
    Detail String CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Control: what people said: kill switch, approval, maintenance, label, release of a target.
CREATE TABLE IF NOT EXISTS {database}.homeostat_control (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    Kind LowCardinality(String) CODEC(ZSTD(1)),
    Subject String CODEC(ZSTD(1)),
    Actor String CODEC(ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    IncidentId String CODEC(ZSTD(1)),
    DecisionId String CODEC(ZSTD(1)),
    AnomalyId String CODEC(ZSTD(1)),
    Label LowCardinality(String) CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Models: trained predictors with their held-out figures beside the baseline's.
CREATE TABLE IF NOT EXISTS {database}.homeostat_models (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    ModelName LowCardinality(String) CODEC(ZSTD(1)),
    ModelVersion String CODEC(ZSTD(1)),
    Kind LowCardinality(String) CODEC(ZSTD(1)),
    Stage LowCardinality(String) CODEC(ZSTD(1)),
    Backend LowCardinality(String) CODEC(ZSTD(1)),
    BaselineName LowCardinality(String) CODEC(ZSTD(1)),
    HorizonSeconds Float64 CODEC(ZSTD(1)),
    WindowSeconds Float64 CODEC(ZSTD(1)),
    ModelThreshold Float64 CODEC(ZSTD(1)),
    TrainRows UInt64 CODEC(ZSTD(1)),
    TrainPositives UInt64 CODEC(ZSTD(1)),
    HeldOutRows UInt64 CODEC(ZSTD(1)),
    HeldOutPositives UInt64 CODEC(ZSTD(1)),
    Brier Float64 CODEC(ZSTD(1)),
    LogLoss Float64 CODEC(ZSTD(1)),
    AreaUnderCurve Float64 CODEC(ZSTD(1)),
    Precision Float64 CODEC(ZSTD(1)),
    Recall Float64 CODEC(ZSTD(1)),
    BaselineBrier Float64 CODEC(ZSTD(1)),
    BaselineLogLoss Float64 CODEC(ZSTD(1)),
    BaselineAreaUnderCurve Float64 CODEC(ZSTD(1)),
    BaselinePrecision Float64 CODEC(ZSTD(1)),
    BaselineRecall Float64 CODEC(ZSTD(1)),
    Features String CODEC(ZSTD(1)),
    Layers String CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Edges of the service graph, as traces showed them; homeostat_edges_latest has the last sighting of each.
CREATE TABLE IF NOT EXISTS {database}.homeostat_edges (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    Source LowCardinality(String) CODEC(ZSTD(1)),
    Target LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    Instrumented Bool,
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Entities: everything that ever sent telemetry through this store, a row for each kind of signal. The store writes a sighting at most
-- once in a quarter of a minute.
CREATE TABLE IF NOT EXISTS {database}.homeostat_entities (
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    Entity String CODEC(ZSTD(1)),
    Signal LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName SimpleAggregateFunction(anyLast, String) CODEC(ZSTD(1)),
    FirstSeen SimpleAggregateFunction(min, DateTime64(9)) CODEC(ZSTD(1)),
    LastSeen SimpleAggregateFunction(max, DateTime64(9)) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree
ORDER BY (Environment, Entity, Signal)
TTL toDateTime(LastSeen) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192;

-- Flushes: the store's own journal. `intent` is written before the inserts of a flush, with the offsets it covers; `done` when a successor
-- finished what a crash left. A writer's later intent implies that its earlier ones are complete.
CREATE TABLE IF NOT EXISTS {database}.homeostat_flushes (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    Writer String CODEC(ZSTD(1)),
    Sequence UInt64 CODEC(ZSTD(1)),
    FlushId String CODEC(ZSTD(1)),
    State LowCardinality(String) CODEC(ZSTD(1)),
    Ranges Nested (
        Topic LowCardinality(String),
        Partition UInt32,
        First UInt64,
        Next UInt64,
        AppendedAt DateTime64(9)
    ) CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, Writer)
TTL toDateTime(Timestamp) + toIntervalDay({telemetryTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW IF NOT EXISTS {database}.homeostat_incidents_latest AS
SELECT * FROM {database}.homeostat_incidents FINAL
ORDER BY IncidentId, Version DESC
LIMIT 1 BY IncidentId;

CREATE VIEW IF NOT EXISTS {database}.homeostat_edges_latest AS
SELECT * FROM {database}.homeostat_edges FINAL
ORDER BY Environment, Source, Target, Timestamp DESC
LIMIT 1 BY Environment, Source, Target;

CREATE VIEW IF NOT EXISTS {database}.homeostat_entities_latest AS
SELECT Environment, Entity, Signal, anyLast(ServiceName) AS ServiceName, min(FirstSeen) AS FirstSeen, max(LastSeen) AS LastSeen
FROM {database}.homeostat_entities
GROUP BY Environment, Entity, Signal;
