// Driver `process`: starts, stops and restarts the local processes that a definitions file lists.
//
// Class: detectable. An applied order is known by its key in the run file, a start also by the mark that the started
// process made, so a crash at any instant is resolved, even when the process has ended again by then.
// Nothing of a command reaches an argument vector: it names a definition.

import { AppError } from '../../schemas/errors.ts'
import type { Driver, DriverOrder, Observation } from '../../schemas/ports.ts'
import type { ProcessDefinition } from '../../schemas/process-definitions.ts'
import { checkKey } from './order-key.ts'
import type { ProcessStat } from './process-table.ts'
import { readRunFile, withKey, writeRunFile } from './run-file.ts'
import { decideStart } from './start-mark.ts'
import { endFamily, findByKey, findRunning, spawnSupervised } from './supervise.ts'

const VERBS = { restart: 'detectable', start: 'detectable', stop: 'detectable' } as const

export interface ProcessDriverOptions {
  definitions: Readonly<Record<string, ProcessDefinition>>
  /** Folder of the run files; made when missing. */
  runDir: string
}

/** @returns the driver; targets are names of definitions or their entities */
export function processDriver({ definitions, runDir }: ProcessDriverOptions): Driver {
  const byTarget = new Map<string, { name: string; definition: ProcessDefinition }>()
  for (const [name, definition] of Object.entries(definitions)) {
    byTarget.set(name, { name, definition })
    if (definition.entity !== undefined && !byTarget.has(definition.entity)) byTarget.set(definition.entity, { name, definition })
  }
  const busy = new Map<string, Promise<unknown>>()

  function definitionOf(target: string): { name: string; definition: ProcessDefinition } {
    const found = byTarget.get(target)
    if (!found)
      throw new AppError('step_refused', `process: no definition for ${JSON.stringify(target.slice(0, 200))}: add it to act.drivers.process.definitionsFile`)
    return found
  }

  /** One at a time for a process: the run file is read, changed and written. */
  function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (busy.get(name) ?? Promise.resolve()).catch(() => undefined).then(work)
    busy.set(name, turn)
    return turn
  }

  async function act(order: DriverOrder, signal: AbortSignal): Promise<{ detail: string }> {
    const { name, definition } = definitionOf(order.target)
    const { running, file, strangers } = findRunning(runDir, name, definition)
    if (strangers > 1) throw new AppError('driver_failed', `${name}: ${strangers} processes have its command line; end those that should not be`)
    if (file.keys.includes(order.idempotencyKey)) return { detail: `${name}: was applied already` }
    if (order.fence < file.fence) throw new AppError('step_refused', `${name}: fence ${order.fence} is older than ${file.fence}`)
    if (signal.aborted) throw new AppError('driver_failed', `${name}: too late to begin`)
    if (order.verb === 'start' && running) {
      remember(name, order)
      return { detail: `${name}: runs already as ${running.pid}` }
    }
    const root = running ?? file.process
    if (root && order.verb !== 'start') await endFamily(root, definition.grace)
    if (order.verb === 'stop') {
      remember(name, order, { process: null, stoppedAtMs: Date.now() })
      return { detail: running ? `${name}: ${running.pid} ended` : `${name}: did not run` }
    }
    const { idempotencyKey, fence } = order
    const started = await spawnSupervised({ runDir, name, definition, idempotencyKey, fence })
    return { detail: `${name}: ${running ? `${running.pid} ended, ` : ''}${started.pid} started` }
  }

  function remember(name: string, { idempotencyKey, fence }: DriverOrder, change: object = {}): void {
    const file = readRunFile(runDir, name)
    writeRunFile(runDir, name, { ...file, ...change, keys: withKey(file.keys, idempotencyKey), fence: Math.max(file.fence, fence) })
  }

  function check({ target, verb, args }: Pick<DriverOrder, 'target' | 'verb' | 'args'>): void {
    definitionOf(target)
    if (!Object.hasOwn(VERBS, verb)) throw new AppError('step_refused', `process: no verb ${JSON.stringify(verb.slice(0, 200))}`)
    if (Object.keys(args).length > 0) throw new AppError('step_refused', `process: takes no arguments, got ${Object.keys(args).join(', ').slice(0, 200)}`)
  }

  return {
    name: 'process',
    verbs: VERBS,
    check,
    async observe(target) {
      const { name, definition } = definitionOf(target)
      return inTurn(name, async () => observation(findRunning(runDir, name, definition)))
    },
    async apply(order, signal) {
      check(order)
      checkKey(order.idempotencyKey)
      const { name } = definitionOf(order.target)
      return inTurn(name, () => act(order, signal))
    },
    async wasApplied(order) {
      const { name, definition } = definitionOf(order.target)
      return inTurn(name, async () => {
        if (findRunning(runDir, name, definition).file.keys.includes(order.idempotencyKey)) return 'yes'
        // A stop leaves no mark, and repeated it finds nothing to stop.
        const answer = order.verb === 'stop' ? 'no' : decideStart(runDir, order.idempotencyKey)
        if (answer === 'yes') {
          const started = findByKey(order.idempotencyKey)
          remember(name, order, { stoppedAtMs: null, ...(started && { process: identityOf(started) }) })
        }
        return answer
      })
    }
  }
}

const identityOf = ({ pid, startTicks, startedAtMs }: ProcessStat) => ({ pid, startTicks, startedAtMs })

function observation({ running, file, strangers }: ReturnType<typeof findRunning>): Observation {
  const restarts = file.restarts
  if (strangers > 1) return { state: 'unknown', facts: { restarts, strangers } }
  if (!running) return { state: file.process === null ? 'stopped' : 'failed', facts: { restarts } }
  const { pid, startedAtMs, rssBytes, state } = running
  return { state: 'running', facts: { pid, startedAtMs, rssBytes, procState: state, restarts } }
}
