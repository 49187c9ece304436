-- Canaries: how each comparison of a new version with its baseline stood, a row a look and a change of state; homeostat_canaries_latest has
-- the last of each.
CREATE TABLE IF NOT EXISTS {database}.homeostat_canaries (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    CanaryId String CODEC(ZSTD(1)),
    Version UInt32 CODEC(ZSTD(1)),
    Environment LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    CanaryVersion LowCardinality(String) CODEC(ZSTD(1)),
    BaselineVersion LowCardinality(String) CODEC(ZSTD(1)),
    State LowCardinality(String) CODEC(ZSTD(1)),
    Reason String CODEC(ZSTD(1)),
    Actor String CODEC(ZSTD(1)),
    StartedAt DateTime64(9) CODEC(ZSTD(1)),
    Quarantined Bool,
    Looks UInt32 CODEC(ZSTD(1)),
    CanaryRequests UInt64 CODEC(ZSTD(1)),
    CanaryErrors UInt64 CODEC(ZSTD(1)),
    BaselineRequests UInt64 CODEC(ZSTD(1)),
    BaselineErrors UInt64 CODEC(ZSTD(1)),
    ErrorDifference Nullable(Float64) CODEC(ZSTD(1)),
    ErrorDifferenceLower Nullable(Float64) CODEC(ZSTD(1)),
    ErrorDifferenceUpper Nullable(Float64) CODEC(ZSTD(1)),
    LatencyRatio Nullable(Float64) CODEC(ZSTD(1)),
    LatencyRatioLower Nullable(Float64) CODEC(ZSTD(1)),
    LatencyRatioUpper Nullable(Float64) CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW IF NOT EXISTS {database}.homeostat_canaries_latest AS
SELECT * FROM {database}.homeostat_canaries FINAL
ORDER BY CanaryId, Version DESC
LIMIT 1 BY CanaryId;
