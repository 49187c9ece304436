// Driver `process`: acts on the local processes that a definitions file lists, and on everything that they started.
//
//   start, stop, restart  detectable: an applied order is known by its key in the run file, a start also by the mark that the started
//                         process made, so a crash at any instant is resolved, even when the process has ended again by then
//   freeze, thaw          convergent, each the undo of the other: SIGSTOP and SIGCONT to the whole tree
//   snapshot              convergent: reads, and keeps what it read
//
// Nothing of a command reaches an argument vector: it names a definition, and `start` and `restart` one of its limits. A pid that
// belongs to another process by now is never signalled, and whoever wanted the old one stopped, frozen or looked at is told so.

import { AppError } from '../../schemas/errors.ts'
import type { Driver, DriverOrder, Observation } from '../../schemas/ports.ts'
import type { ProcessDefinition } from '../../schemas/process-definitions.ts'
import { checkKey } from './order-key.ts'
import { keepSnapshot, summaryOf, takeSnapshot } from './process-snapshot.ts'
import { isStopped, type ProcessStat } from './process-table.ts'
import { endTree, freezeTree, thawTree, treeOf } from './process-tree.ts'
import { type RunFile, readRunFile, withKey, writeRunFile } from './run-file.ts'
import { decideStart } from './start-mark.ts'
import { DEFAULT_LIMITS, type Found, findByKey, findRunning, processEntryOf, spawnSupervised } from './supervise.ts'

const VERBS = {
  start: 'detectable',
  stop: 'detectable',
  restart: 'detectable',
  freeze: 'convergent',
  thaw: 'convergent',
  snapshot: 'convergent'
} as const satisfies Driver['verbs']
/** Verbs that may name the limits of what they start. */
const STARTING: readonly string[] = ['start', 'restart']

export interface ProcessDriverOptions {
  definitions: Readonly<Record<string, ProcessDefinition>>
  /** Folder of the run files and snapshots; made when missing. */
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
    const found = findRunning(runDir, name, definition)
    const { file, strangers } = found
    if (strangers > 1) throw new AppError('driver_failed', `${name}: ${strangers} processes have its command line; end those that should not be`)
    if (file.keys.includes(order.idempotencyKey)) return { detail: `${name}: was applied already` }
    if (order.fence < file.fence) throw new AppError('step_refused', `${name}: fence ${order.fence} is older than ${file.fence}`)
    if (signal.aborted) throw new AppError('driver_failed', `${name}: too late to begin`)
    if (order.verb === 'restart' || (order.verb === 'start' && !found.running)) return begin(order, name, definition, found)
    const { detail, change } = order.verb === 'start' ? { detail: `runs already as ${found.running!.pid}` } : await actOnTree(order, name, definition, found)
    remember(name, order, change)
    return { detail: `${name}: ${detail}` }
  }

  /** Ends what there is, for a restart, and starts anew. */
  async function begin(order: DriverOrder, name: string, definition: ProcessDefinition, { running, file, usurper }: Found): Promise<{ detail: string }> {
    const { verb, idempotencyKey, fence } = order
    if (verb === 'restart' && file.process) await endTree(file.process, definition.grace)
    const limits = limitsOf(order)
    const started = await spawnSupervised({ runDir, name, definition, idempotencyKey, fence, limits })
    const before = running ? `${running.pid} ended, ` : usurper ? `pid ${usurper.pid} belongs to another process now and was left alone, ` : ''
    return { detail: `${name}: ${before}${started.pid} started with limits ${limits}` }
  }

  /** stop, freeze, thaw and snapshot: what they do to the tree that is there. */
  async function actOnTree(
    { verb, idempotencyKey }: DriverOrder,
    name: string,
    definition: ProcessDefinition,
    { file, usurper }: Found
  ): Promise<{ detail: string; change?: Partial<RunFile> }> {
    if (usurper) throw new AppError('step_refused', reuseOf(name, file, usurper))
    const root = file.process
    if (verb === 'stop') {
      const count = root ? await endTree(root, definition.grace) : 0
      return { detail: count > 0 ? `${inWords(count)} ended` : 'did not run', change: { process: null, stoppedAtMs: Date.now() } }
    }
    if (!root || treeOf(root).length === 0) throw new AppError('driver_failed', `${name}: does not run, there is nothing to ${verb}`)
    if (verb === 'freeze') return { detail: `${inWords((await freezeTree(root)).length)} frozen` }
    if (verb === 'thaw') return { detail: `${inWords(thawTree(root).length)} thawed` }
    const snapshot = takeSnapshot(name, idempotencyKey, treeOf(root))
    keepSnapshot(runDir, snapshot)
    return { detail: summaryOf(snapshot).slice(name.length + 2) }
  }

  function remember(name: string, { idempotencyKey, fence }: DriverOrder, change: Partial<RunFile> = {}): void {
    const file = readRunFile(runDir, name)
    writeRunFile(runDir, name, { ...file, ...change, keys: withKey(file.keys, idempotencyKey), fence: Math.max(file.fence, fence) })
  }

  function check({ target, verb, args }: Pick<DriverOrder, 'target' | 'verb' | 'args'>): void {
    const { name, definition } = definitionOf(target)
    if (!Object.hasOwn(VERBS, verb)) throw new AppError('step_refused', `process: no verb ${JSON.stringify(verb.slice(0, 200))}`)
    const { limits, ...others } = args
    const unknown = Object.keys(STARTING.includes(verb) ? others : args)
    if (unknown.length > 0) throw new AppError('step_refused', `process: ${verb} takes no argument ${JSON.stringify(unknown.join(', ').slice(0, 200))}`)
    if (Object.hasOwn(args, 'limits') && !(typeof limits === 'string' && Object.hasOwn(definition.limits, limits)))
      throw new AppError('step_refused', `process: ${name} has no limits ${JSON.stringify(limits)?.slice(0, 200)} in its definition`)
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
        const { file } = findRunning(runDir, name, definition)
        if (file.keys.includes(order.idempotencyKey)) return 'yes'
        // The others leave no mark; repeated, a stop finds nothing to stop.
        const answer = STARTING.includes(order.verb) ? decideStart(runDir, order.idempotencyKey) : 'no'
        if (answer === 'yes') {
          const started = findByKey(order.idempotencyKey)
          remember(name, order, { stoppedAtMs: null, ...(started && { process: { ...processEntryOf(started), limits: limitsOf(order) } }) })
        }
        return answer
      })
    }
  }
}

const limitsOf = ({ args }: DriverOrder): string => (typeof args.limits === 'string' ? args.limits : DEFAULT_LIMITS)

function reuseOf(name: string, { process }: RunFile, usurper: ProcessStat): string {
  const [ours, theirs] = [process!.startedAtMs, usurper.startedAtMs].map(ms => new Date(ms).toISOString())
  return `${name}: pid ${usurper.pid} belongs to another process now (it started at ${theirs}, ours at ${ours}); nothing was signalled`
}

function observation({ running, file, strangers, usurper }: Found): Observation {
  const { restarts } = file
  if (strangers > 1) return { state: 'unknown', facts: { restarts, strangers } }
  const tree = file.process ? treeOf(file.process) : []
  const treeRssBytes = tree.reduce((sum, { rssBytes }) => sum + rssBytes, 0)
  const facts = { restarts, processes: tree.length, treeRssBytes, frozen: tree.length > 0 && tree.every(isStopped), pidReused: usurper !== undefined }
  if (!running) return { state: file.process === null ? 'stopped' : 'failed', facts }
  const { pid, startedAtMs, rssBytes, state } = running
  return { state: 'running', facts: { ...facts, pid, startedAtMs, rssBytes, procState: state, limits: file.process?.limits ?? '' } }
}

const inWords = (count: number): string => (count === 1 ? '1 process' : `${count} processes`)
