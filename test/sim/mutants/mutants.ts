// Planted bugs: each must be caught within the seeds of a run, else it is the simulator that is broken.

import type { PolicySet } from '../../../actuators/decide/policy-file.ts'
import { commandsTopic, TOPICS } from '../../../schemas/topics.ts'
import type { Command } from '../../../schemas/command.ts'
import type { Driver, LedgerRows, LedgerStore } from '../../../schemas/ports.ts'
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
  }
]

function withRows(store: LedgerStore, change: (rows: LedgerRows) => LedgerRows): LedgerStore {
  return { ...store, transaction: work => store.transaction(rows => work(change(rows))) }
}

type Spec = PolicySet['policies'][number]['spec']

function withSpec(set: PolicySet, change: (spec: Spec) => Spec): PolicySet {
  return { ...set, policies: set.policies.map(policy => ({ ...policy, spec: change(policy.spec) })) }
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
