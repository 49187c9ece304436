-- M1–M10, each defined once: a view of one row (value NULL means that nothing was measured, which is not a good result), and
-- homeostat_scorecard with all of them. Incidents and commands of the last 30 days; shares are 0..1.

-- M1 MTTR: mean over resolved incidents of HealedAt - StartedAt, from the onset of the deviation to the moment from which on all raw
-- signals were healthy. Target: below 15 minutes.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m01_mttr AS
SELECT 'M1' AS id, 'mean time to recovery' AS name, if(samples = 0, NULL, measured) AS value, 's' AS unit,
    CAST(900, 'Nullable(Float64)') AS target, '< 15 min' AS target_text, CAST(value < 900, 'Nullable(Bool)') AS met, samples,
    'mean of HealedAt - StartedAt over resolved incidents' AS definition
FROM (
    SELECT avg(toFloat64(HealedAt) - toFloat64(StartedAt)) AS measured, count() AS samples
    FROM {database}.homeostat_incidents_latest
    WHERE Status = 'resolved' AND HealedAt IS NOT NULL AND StartedAt >= now64(9) - INTERVAL 30 DAY
);

-- M2: closed incidents that a command healed which nobody had to approve (its decision had autonomy auto), of all closed incidents.
-- Target: at least 30 %.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m02_automated_remediation AS
SELECT 'M2' AS id, 'automated remediation rate' AS name, if(samples = 0, NULL, measured) AS value, 'ratio' AS unit,
    CAST(0.3, 'Nullable(Float64)') AS target, '>= 30 %' AS target_text, CAST(value >= 0.3, 'Nullable(Bool)') AS met, samples,
    'closed incidents healed by a command that nobody had to approve, of all closed' AS definition
FROM (
    SELECT avg(toFloat64(Resolution = 'remediated' AND IncidentId IN (
        SELECT IncidentId FROM {database}.homeostat_outcomes FINAL
        WHERE Verdict = 'healed' AND DecisionId IN (SELECT DecisionId FROM {database}.homeostat_decisions WHERE Autonomy = 'auto')
    ))) AS measured, count() AS samples
    FROM {database}.homeostat_incidents_latest
    WHERE Resolution NOT IN ('', 'merged') AND StartedAt >= now64(9) - INTERVAL 30 DAY
);

-- M3: commands with verdict healed, of the commands that acted (a step was begun) and have their terminal verdict. Refused commands did
-- not act. Inconclusive and unknown count as not healed. Target: at least 95 %.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m03_remediation_success AS
SELECT 'M3' AS id, 'remediation success rate' AS name, if(samples = 0, NULL, measured) AS value, 'ratio' AS unit,
    CAST(0.95, 'Nullable(Float64)') AS target, '>= 95 %' AS target_text, CAST(value >= 0.95, 'Nullable(Bool)') AS met, samples,
    'commands with verdict healed, of those that acted' AS definition
FROM (
    SELECT avg(toFloat64(Verdict = 'healed')) AS measured, count() AS samples
    FROM {database}.homeostat_outcomes FINAL
    WHERE BegunAt IS NOT NULL AND Verdict != 'refused' AND Timestamp >= now64(9) - INTERVAL 30 DAY
);

-- M4: closed incidents that were no trouble, of all closed incidents. An incident is a false positive when a person labelled one of its
-- anomalies false_positive (the last label of an anomaly counts), or when it went away by itself without any command and nobody labelled
-- one of its anomalies true_positive. Pessimistic: an unlabelled real trouble that healed itself counts as false. Target: below 5 %.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m04_false_positives AS
SELECT 'M4' AS id, 'false positive rate' AS name, if(samples = 0, NULL, measured) AS value, 'ratio' AS unit,
    CAST(0.05, 'Nullable(Float64)') AS target, '< 5 %' AS target_text, CAST(value < 0.05, 'Nullable(Bool)') AS met, samples,
    'closed incidents labelled false_positive, or gone by themselves without a command or a true_positive label, of all closed' AS definition
FROM (
    WITH labels AS (
        SELECT AnomalyId, argMax(Label, Timestamp) AS LastLabel FROM {database}.homeostat_control WHERE Kind = 'label' GROUP BY AnomalyId
    )
    SELECT avg(toFloat64(hasAny(AnomalyIds, (SELECT groupArray(AnomalyId) FROM labels WHERE LastLabel = 'false_positive'))
        OR (Resolution = 'self_healed' AND Attempts = 0
            AND NOT hasAny(AnomalyIds, (SELECT groupArray(AnomalyId) FROM labels WHERE LastLabel = 'true_positive'))))) AS measured, count() AS samples
    FROM {database}.homeostat_incidents_latest
    WHERE Resolution NOT IN ('', 'merged') AND StartedAt >= now64(9) - INTERVAL 30 DAY
);

-- M5: mean over incidents with a command of: the first step's begin - the incident's opening. Target: below 1 minute.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m05_time_to_remediation AS
SELECT 'M5' AS id, 'time to remediation start' AS name, if(samples = 0, NULL, measured) AS value, 's' AS unit,
    CAST(60, 'Nullable(Float64)') AS target, '< 1 min' AS target_text, CAST(value < 60, 'Nullable(Bool)') AS met, samples,
    'mean of the first step begun - incident opened' AS definition
FROM (
    SELECT avg(Delay) AS measured, count() AS samples
    FROM (
        SELECT min(toFloat64(O.BegunAt)) - any(toFloat64(D.IncidentOpenedAt)) AS Delay
        FROM (SELECT IncidentId, DecisionId, assumeNotNull(BegunAt) AS BegunAt FROM {database}.homeostat_outcomes FINAL WHERE BegunAt IS NOT NULL AND Verdict != 'refused' AND Timestamp >= now64(9) - INTERVAL 30 DAY) AS O
        INNER JOIN (SELECT DecisionId, IncidentOpenedAt FROM {database}.homeostat_decisions FINAL) AS D ON D.DecisionId = O.DecisionId
        GROUP BY O.IncidentId
    )
);

-- M6: incidents handed to a person (status or resolution escalated, a decision to escalate, or an escalated outcome), of all incidents.
-- Target: below 10 %.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m06_escalation AS
SELECT 'M6' AS id, 'escalation rate' AS name, if(samples = 0, NULL, measured) AS value, 'ratio' AS unit,
    CAST(0.1, 'Nullable(Float64)') AS target, '< 10 %' AS target_text, CAST(value < 0.1, 'Nullable(Bool)') AS met, samples,
    'incidents handed to a person, of all' AS definition
FROM (
    SELECT avg(toFloat64(Status = 'escalated' OR Resolution = 'escalated'
        OR IncidentId IN (SELECT IncidentId FROM {database}.homeostat_decisions WHERE Outcome = 'escalate')
        OR IncidentId IN (SELECT IncidentId FROM {database}.homeostat_outcomes WHERE Escalated))) AS measured, count() AS samples
    FROM {database}.homeostat_incidents_latest
    WHERE Resolution != 'merged' AND StartedAt >= now64(9) - INTERVAL 30 DAY
);

-- M7: commands of which a step was undone or should have been (undo failed), of the commands that acted. Target: below 1 %.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m07_rollback AS
SELECT 'M7' AS id, 'rollback frequency' AS name, if(samples = 0, NULL, measured) AS value, 'ratio' AS unit,
    CAST(0.01, 'Nullable(Float64)') AS target, '< 1 %' AS target_text, CAST(value < 0.01, 'Nullable(Bool)') AS met, samples,
    'commands with a step undone (or an undo that failed), of those that acted' AS definition
FROM (
    SELECT avg(toFloat64(StepsUndone + UndosFailed > 0)) AS measured, count() AS samples
    FROM {database}.homeostat_outcomes FINAL
    WHERE BegunAt IS NOT NULL AND Verdict != 'refused' AND Timestamp >= now64(9) - INTERVAL 30 DAY
);

-- M8: mean cost of the commands that acted, in the units of the runbooks' `cost`. No target: its trend matters.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m08_cost AS
SELECT 'M8' AS id, 'cost per remediation' AS name, if(samples = 0, NULL, measured) AS value, 'cost' AS unit,
    CAST(NULL, 'Nullable(Float64)') AS target, 'trend' AS target_text, CAST(NULL, 'Nullable(Bool)') AS met, samples,
    'mean cost of the commands that acted, in the units of the runbooks' AS definition
FROM (
    SELECT avg(Cost) AS measured, count() AS samples
    FROM {database}.homeostat_outcomes FINAL
    WHERE BegunAt IS NOT NULL AND Verdict != 'refused' AND Timestamp >= now64(9) - INTERVAL 30 DAY
);

-- M9: entities whose metrics or spans arrived within the last 5 minutes, of the entities that sent anything in the last day. Logs alone
-- give no service level, so they make an entity known but not covered. Target: at least 60 %.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m09_sli_coverage AS
SELECT 'M9' AS id, 'SLI coverage' AS name, if(samples = 0, NULL, measured) AS value, 'ratio' AS unit,
    CAST(0.6, 'Nullable(Float64)') AS target, '>= 60 %' AS target_text, CAST(value >= 0.6, 'Nullable(Bool)') AS met, samples,
    'entities with metrics or spans in the last 5 minutes, of those seen in the last day' AS definition
FROM (
    SELECT avg(toFloat64(Covered)) AS measured, count() AS samples
    FROM (
        SELECT max(Signal IN ('metric', 'span') AND LastSeen >= now64(9) - INTERVAL 5 MINUTE) AS Covered
        FROM {database}.homeostat_entities_latest
        WHERE LastSeen >= now64(9) - INTERVAL 1 DAY
        GROUP BY Environment, Entity
    )
);

-- M10: 99th percentile over the records of the last 30 days of StoredAt - the moment the record was made: how long until an auditor can
-- read what was decided and done. Target: below 1 minute.
CREATE VIEW IF NOT EXISTS {database}.homeostat_m10_audit_latency AS
SELECT 'M10' AS id, 'audit latency' AS name, if(samples = 0, NULL, measured) AS value, 's' AS unit,
    CAST(60, 'Nullable(Float64)') AS target, '< 1 min' AS target_text, CAST(value < 60, 'Nullable(Bool)') AS met, samples,
    '99th percentile of StoredAt - the moment a record was made' AS definition
FROM (
    SELECT quantile(0.99)(Delay) AS measured, count() AS samples
    FROM (
        SELECT toFloat64(StoredAt) - toFloat64(DetectedAt) AS Delay FROM {database}.homeostat_anomalies FINAL WHERE Timestamp >= now64(9) - INTERVAL 30 DAY
        UNION ALL SELECT toFloat64(StoredAt) - toFloat64(Timestamp) FROM {database}.homeostat_incidents FINAL WHERE Timestamp >= now64(9) - INTERVAL 30 DAY
        UNION ALL SELECT toFloat64(StoredAt) - toFloat64(Timestamp) FROM {database}.homeostat_decisions FINAL WHERE Timestamp >= now64(9) - INTERVAL 30 DAY
        UNION ALL SELECT toFloat64(StoredAt) - toFloat64(Timestamp) FROM {database}.homeostat_commands FINAL WHERE Timestamp >= now64(9) - INTERVAL 30 DAY
        UNION ALL SELECT toFloat64(StoredAt) - toFloat64(Timestamp) FROM {database}.homeostat_outcomes FINAL WHERE Timestamp >= now64(9) - INTERVAL 30 DAY
    )
);

-- All ten, one row each. met is NULL where nothing was measured or where there is no target.
CREATE VIEW IF NOT EXISTS {database}.homeostat_scorecard AS
SELECT * FROM (
    SELECT * FROM {database}.homeostat_m01_mttr
    UNION ALL SELECT * FROM {database}.homeostat_m02_automated_remediation
    UNION ALL SELECT * FROM {database}.homeostat_m03_remediation_success
    UNION ALL SELECT * FROM {database}.homeostat_m04_false_positives
    UNION ALL SELECT * FROM {database}.homeostat_m05_time_to_remediation
    UNION ALL SELECT * FROM {database}.homeostat_m06_escalation
    UNION ALL SELECT * FROM {database}.homeostat_m07_rollback
    UNION ALL SELECT * FROM {database}.homeostat_m08_cost
    UNION ALL SELECT * FROM {database}.homeostat_m09_sli_coverage
    UNION ALL SELECT * FROM {database}.homeostat_m10_audit_latency
)
ORDER BY toUInt8(substring(id, 2));
