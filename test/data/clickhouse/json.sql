-- Table shapes of the Collector's ClickHouse exporter with `json` on: attributes of type JSON and lists of their keys.
-- Two tables are enough to be told apart from the others.

CREATE TABLE otel_logs (
    Timestamp DateTime64(9),
    TraceId String,
    SpanId String,
    TraceFlags UInt8,
    SeverityText LowCardinality(String),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String),
    Body String,
    ResourceSchemaUrl LowCardinality(String),
    ResourceAttributes JSON,
    ResourceAttributesKeys Array(LowCardinality(String)),
    ScopeSchemaUrl LowCardinality(String),
    ScopeName String,
    ScopeVersion LowCardinality(String),
    ScopeAttributes JSON,
    ScopeAttributesKeys Array(LowCardinality(String)),
    LogAttributes JSON,
    LogAttributesKeys Array(LowCardinality(String))
) ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (ServiceName, toDateTime(Timestamp), Timestamp);

CREATE TABLE otel_metrics_gauge (
    ResourceAttributes JSON,
    ResourceAttributesKeys Array(LowCardinality(String)),
    ServiceName LowCardinality(String),
    MetricName String,
    Attributes JSON,
    AttributesKeys Array(LowCardinality(String)),
    StartTimeUnix DateTime64(9),
    TimeUnix DateTime64(9),
    Value Float64,
    Flags UInt32
) ENGINE = MergeTree
PARTITION BY toDate(TimeUnix)
ORDER BY (ServiceName, MetricName, toUnixTimestamp64Nano(TimeUnix));
