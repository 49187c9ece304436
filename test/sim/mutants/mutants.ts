// Planted bugs: each must be caught within the seeds of a run, else it is the simulator that is broken.

import type { DecideState } from '../../../actuators/decide/state.ts'
import type { PolicySet } from '../../../actuators/decide/policy-file.ts'
import { commandsTopic, TOPICS } from '../../../schemas/topics.ts'
import type { Command } from '../../../schemas/command.ts'
import type { Checkpoint, Driver, LedgerRows, LedgerStore, Log, LogRecord, LogRecordInput } from '../../../schemas/ports.ts'
import { ENVIRONMENT } from '../checker.ts'
import type { Mutant } from './mutant.ts'

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'begun is written with the result, not before the act',
    ledger(store) {
      const begun = new Map<string, Readonly<Record<string, unknown>>>()
      return withRows(store, rows => ({
        ...rows,
        get: (kind, key) => (kind === 'step' ? begun.get(key) : undefined) ?? rows.get(kind, key),
        put(kind, key, row) {
          if (kind === 'step' && row.state === 'begun') begun.set(key, row)
          else {
            if (kind === 'step') begun.delete(key)
            rows.put(kind, key, row)
          }
        }
      }))
    }
  },
  {
    name: 'the ledger forgets what is recorded',
    ledger: store =>
      withRows(store, rows => ({
        ...rows,
        get(kind, key) {
          const row = rows.get(kind, key)
          return (kind === 'command' || kind === 'step') && row?.state === 'recorded' ? undefined : row
        }
      }))
  },
  {
    name: 'every third outcome is marked as sent and is not',
    log(log) {
      let count = 0
      return {
        ...log,
        append: (topic, records) =>
          topic === TOPICS.outcomes.name && ++count % 3 === 0 ? log.read({ topic, partition: 0, offset: 0 }, 1).then(() => []) : log.append(topic, records)
      }
    }
  },
  { name: 'the fence is not compared', comparesFence: false },
  {
    name: 'every verb is taken for convergent',
    driver: driver => ({ ...driver, verbs: Object.fromEntries(Object.keys(driver.verbs).map(verb => [verb, 'convergent'])) as Driver['verbs'] })
  },
  {
    name: 'the target is asked and its answer thrown away',
    driver: driver => ({ ...driver, wasApplied: order => driver.wasApplied!(order).then(() => 'no') })
  },
  {
    name: 'verification reads health of a minute ago',
    signals: signals => ({
      ...signals,
      async series(query) {
        const points = await signals.series({ ...query, fromMs: query.fromMs - 60_000, toMs: query.toMs - 60_000 })
        return points.map(({ atMs, value }) => ({ atMs: atMs + 60_000, value }))
      }
    })
  },
  {
    name: 'no data is healthy',
    signals: signals => ({
      ...signals,
      async series(query) {
        const points = await signals.series(query)
        if (points.length > 0) return points
        const made = Array.from({ length: 60 }, (_, index) => ({ atMs: query.toMs - (59 - index) * 1_000, value: 10 }))
        return made.filter(({ atMs }) => atMs >= query.fromMs)
      }
    })
  },
  { name: 'the signature is not checked', verifier: () => ({ verify: () => undefined }) },
  { name: 'expiry is not looked at', verifier: verifier => afterVerifying(verifier, command => ({ expiresAtMs: command.expiresAtMs + 30 * 86_400_000 })) },
  { name: 'the environment is not looked at', verifier: verifier => afterVerifying(verifier, () => ({ environment: ENVIRONMENT })) },
  {
    name: 'the kill switch is read at the start only',
    log: (log, { process }) => {
      if (!process.name.startsWith('act')) return log
      let reads = 0
      return {
        ...log,
        read: (from, recordsMax) => log.read(from, recordsMax).then(records => (from.topic === TOPICS.control.name && ++reads > 3 ? [] : records))
      }
    }
  },
  {
    name: 'cooldown and attempts are not counted',
    policies: set => withSpec(set, spec => ({ ...spec, cooldown: { ...spec.cooldown, initial: 0, max: 0 }, attempts: { ...spec.attempts, max: 1_000 } }))
  },
  { name: 'blast radius is not limited', policies: set => withSpec(set, spec => ({ ...spec, blastRadius: { ...spec.blastRadius, concurrentMax: 1_000 } })) },
  {
    name: 'all stages are one',
    policies: set => ({ ...set, runbooks: new Map([...set.runbooks].map(([name, runbook]) => [name, inOneStage(runbook)])) })
  },
  {
    name: 'nobody is called for what stays blocked',
    policies: set => withSpec(set, spec => ({ ...spec, escalate: { ...spec.escalate, blockedFor: 86_400_000 } }))
  },
  { name: 'nobody is asked', policies: set => withSpec(set, spec => ({ ...spec, autonomy: 'auto' })) },
  {
    name: 'the offset is committed before the ledger has the command',
    log: log => ({
      ...log,
      subscribe: options =>
        log.subscribe({
          ...options,
          async onBatch(batch) {
            if (batch.topic !== commandsTopic(ENVIRONMENT)) return options.onBatch(batch)
            void options.onBatch(batch).catch(() => {})
            return { kind: 'done' }
          }
        })
    })
  },
  {
    name: 'every claim of a command counts as ours',
    log(log) {
      let mine: string | undefined
      return {
        ...log,
        append(topic, records) {
          if (topic === TOPICS.executions.name) mine = (JSON.parse(Buffer.from(records[0]!.value!).toString()) as { ledgerId: string }).ledgerId
          return log.append(topic, records)
        },
        async read(from, recordsMax) {
          const records = await log.read(from, recordsMax)
          if (from.topic !== TOPICS.executions.name || mine === undefined) return records
          return records.map(record => ({
            ...record,
            value: Buffer.from(JSON.stringify({ ...(JSON.parse(Buffer.from(record.value!).toString()) as object), ledgerId: mine }))
          }))
        }
      }
    }
  },
  { name: 'the checkpoint is not saved', checkpoints: store => ({ ...store, save: async () => {} }) },
  {
    name: 'maintenance is not heard',
    log: log => ({
      ...log,
      subscribe: options =>
        log.subscribe({
          ...options,
          onBatch: batch =>
            options.onBatch(
              batch.topic === TOPICS.control.name
                ? { ...batch, records: batch.records.map(record => (record.key?.startsWith('maintenance') ? { ...record, value: null } : record)) }
                : batch
            )
        })
    })
  },
  { name: 'the actuator does not hear of maintenance', log: deafTo('maintenance') },
  { name: 'the actuator does not hear what others change', log: deafTo('change') },
  { name: "the policy's windows do not travel in the command", unsigned: command => ({ ...command, holds: { ...command.holds!, maintenanceWindows: [] } }) },
  {
    name: 'the actuator does not look at the incident again',
    log: (log, { process }) =>
      process.name.startsWith('act') ? { ...log, read: (from, max) => (from.topic === TOPICS.incidents.name ? Promise.resolve([]) : log.read(from, max)) } : log
  },
  {
    name: 'the checkpoint has the positions of now and the state of the save before',
    checkpoints(store) {
      const before = new Map<string, Checkpoint['parts']>()
      return {
        ...store,
        save(name, checkpoint, owner) {
          const parts = before.get(name) ?? checkpoint.parts
          before.set(name, checkpoint.parts)
          return store.save(name, { ...checkpoint, parts }, owner)
        }
      }
    }
  },
  {
    name: 'what was learned counts twice after a restart',
    checkpoints: store => ({
      ...store,
      async load(name) {
        const checkpoint = await store.load(name)
        const state = checkpoint && (JSON.parse(Buffer.from(checkpoint.parts.get('state')!).toString()) as { inner: { learned?: DecideState['learned'] } })
        if (state?.inner.learned === undefined) return checkpoint
        for (const count of Object.values(state.inner.learned)) count.successes *= 2
        return { ...checkpoint!, parts: new Map([['state', Buffer.from(JSON.stringify(state))]]) }
      }
    })
  },
  {
    name: 'the log gives other bytes than it took',
    brokenLog(log) {
      let batches = 0
      return changeBatches(log, record => (++batches % 25 === 0 ? { ...record, value: Buffer.from('{}') } : record))
    }
  },
  {
    name: 'a record that the log did not take at once is sealed anew',
    log: log => ({
      ...log,
      append: (topic, records) =>
        log.append(topic, records).catch(error => {
          for (const { headers } of records)
            if (headers?.ce_auditseq !== undefined) Object.assign(headers, { ce_auditseq: String(Number(headers.ce_auditseq) + 1) })
          throw error
        })
    })
  },
  {
    name: 'outcomes are in no audit chain',
    log: log => ({
      ...log,
      append: (topic, records) =>
        log.append(
          topic,
          topic === TOPICS.outcomes.name
            ? records.map(record => ({
                ...record,
                headers: Object.fromEntries(Object.entries(record.headers!).filter(([name]) => !name.startsWith('ce_audit')))
              }))
            : records
        )
    })
  },
  {
    name: 'every fifth decision is changed after it was sealed',
    log(log) {
      let decisions = 0
      const change = (record: LogRecordInput): LogRecordInput =>
        ++decisions % 5 === 0 ? { ...record, value: Buffer.from(Buffer.from(record.value!).toString().replace('"reason":"', '"reason":"so ')) } : record
      return { ...log, append: (topic, records) => log.append(topic, topic === TOPICS.decisions.name ? records.map(change) : records) }
    }
  },
  {
    name: 'every fourth alarm is dropped on its way in',
    log(log) {
      let alarms = 0
      const isAlarm = ({ topic, value }: LogRecord): boolean =>
        topic === TOPICS.anomalies.name && Buffer.from(value!).toString().includes('"status":"open"') && ++alarms % 4 === 0
      return changeBatches(log, record => (isAlarm(record) ? { ...record, value: null } : record))
    }
  }
]

/** An actuator whose reads of the control topic lack one kind. */
function deafTo(kind: string): Mutant['log'] {
  return (log, { process }) => {
    if (!process.name.startsWith('act')) return log
    const isHeard = (record: LogRecord): boolean => record.topic !== TOPICS.control.name || record.key?.startsWith(`${kind}/`) !== true
    return { ...log, read: (from, max) => log.read(from, max).then(records => records.map(record => (isHeard(record) ? record : { ...record, value: null }))) }
  }
}

function changeBatches(log: Log, change: (record: LogRecord) => LogRecord): Log {
  return { ...log, subscribe: options => log.subscribe({ ...options, onBatch: batch => options.onBatch({ ...batch, records: batch.records.map(change) }) }) }
}

function withRows(store: LedgerStore, change: (rows: LedgerRows) => LedgerRows): LedgerStore {
  return { ...store, transaction: work => store.transaction(rows => work(change(rows))) }
}

type Spec = PolicySet['policies'][number]['spec']

function withSpec(set: PolicySet, change: (spec: Spec) => Spec): PolicySet {
  return { ...set, policies: set.policies.map(policy => ({ ...policy, spec: change(policy.spec) })) }
}

type LoadedRunbook = PolicySet['runbooks'] extends ReadonlyMap<string, infer Runbook> ? Runbook : never

function inOneStage(runbook: LoadedRunbook): LoadedRunbook {
  const steps = runbook.spec.steps.map(step => (step.stages === undefined ? step : { ...step, stages: ['100%'] }))
  return { ...runbook, spec: { ...runbook.spec, steps } }
}

function afterVerifying(
  verifier: { verify(command: Command): { by: string; reason: string } | undefined },
  change: (command: Command) => Partial<Command>
): typeof verifier {
  return {
    verify(command) {
      const refusal = verifier.verify(command)
      Object.assign(command, change(command))
      return refusal
    }
  }
}
