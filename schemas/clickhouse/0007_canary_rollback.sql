-- M7 counts the rollback of a canary, too: a command whose cause has the signature `canary` takes back a version, where a step undone
-- takes back an act of ours. Of the commands that acted. Target: below 1 %. (To replace a view in one statement asks for the right to drop
-- tables, which nobody has.)
DROP VIEW IF EXISTS {database}.homeostat_m07_rollback;

CREATE VIEW IF NOT EXISTS {database}.homeostat_m07_rollback AS
SELECT 'M7' AS id, 'rollback frequency' AS name, if(samples = 0, NULL, measured) AS value, 'ratio' AS unit,
    CAST(0.01, 'Nullable(Float64)') AS target, '< 1 %' AS target_text, CAST(value < 0.01, 'Nullable(Bool)') AS met, samples,
    'commands with a step undone (or an undo that failed) or that rolled a canary back, of those that acted' AS definition
FROM (
    SELECT avg(toFloat64(StepsUndone + UndosFailed > 0 OR CommandId IN (
        SELECT CommandId FROM {database}.homeostat_commands WHERE JSONExtractString(Cause, 'signature') = 'canary'
    ))) AS measured, count() AS samples
    FROM {database}.homeostat_outcomes FINAL
    WHERE BegunAt IS NOT NULL AND Verdict != 'refused' AND Timestamp >= now64(9) - INTERVAL 30 DAY
);
