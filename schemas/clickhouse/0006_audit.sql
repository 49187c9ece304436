-- The audit chain: decisions, commands and outcomes keep the bytes that were hashed and their place in their writer's chain, so that
-- `homeostat audit verify` can tell what was changed since. Rows that were stored before have an empty AuditChain.
ALTER TABLE {database}.homeostat_decisions
    ADD COLUMN IF NOT EXISTS AuditChain LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditSeq UInt64 CODEC(Delta(8), ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditPrev String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditHash String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS RecordType LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Payload String CODEC(ZSTD(1));

ALTER TABLE {database}.homeostat_commands
    ADD COLUMN IF NOT EXISTS AuditChain LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditSeq UInt64 CODEC(Delta(8), ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditPrev String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditHash String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS RecordType LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Payload String CODEC(ZSTD(1));

ALTER TABLE {database}.homeostat_outcomes
    ADD COLUMN IF NOT EXISTS AuditChain LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditSeq UInt64 CODEC(Delta(8), ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditPrev String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS AuditHash String CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS RecordType LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Payload String CODEC(ZSTD(1));

-- Anchors: control's signature under the head of a chain, about once a minute while the chain moves.
CREATE TABLE IF NOT EXISTS {database}.homeostat_anchors (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    AuditChain LowCardinality(String) CODEC(ZSTD(1)),
    AuditSeq UInt64 CODEC(ZSTD(1)),
    AuditHash String CODEC(ZSTD(1)),
    KeyId LowCardinality(String) CODEC(ZSTD(1)),
    Signature String CODEC(ZSTD(1)),
    RecordId String CODEC(ZSTD(1)),
    StoredAt DateTime64(9) DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
    Precedence UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(StoredAt))
) ENGINE = ReplacingMergeTree(Precedence)
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Timestamp, RecordId)
TTL toDateTime(Timestamp) + toIntervalDay({recordsTtlDays})
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
