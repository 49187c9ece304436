// The small cluster of UC1 and S1: Homeostat, ledger, runtime with three pods, and the case's hands on them.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ConfigInput } from '../../../../schemas/config.ts'
import { findProcesses } from '../../processes.ts'
import { fastSettings } from '../../settings.ts'
import type { Performance } from '../frame.ts'
import { storiesSince } from '../gather.ts'
import { announce } from '../people.ts'
import { answers, kill, type Rig, until } from '../rig.ts'
import { BAD_CONFIG, configFile, eventsFile, GOOD_CONFIG, LEDGER, type Pod, type PodEvent, PODS, portName } from './pods.ts'

const START_DEADLINE_MS = 30_000
const RESOLVED_DEADLINE_MS = 90_000
/**
 * A crash loop that nobody here healed is over for Homeostat, and its alert closed, when it did not restart for twice its longest gap
 * (detectors/rules/crash-loop.ts): the longest back-off of 8 s and the pod's start, in seconds of telemetry.
 */
export const CLOSED_AFTER_MS = 25_000

export interface Uc1Stage {
  rig: Rig
  /** The pod that the runbook replaces, and the one that gets the bad configuration: drawn. */
  replaced: Pod
  broken: Pod
  events(): PodEvent[]
  isReady(): Promise<boolean>
  stopLedger(): void
  continueLedger(): void
  /** Writes the pod's configuration and ends it, as a roll-out to this pod alone does. */
  configure(pod: Pod, isGood: boolean): void
  /** Each pod once, in turn, announced as a deploy. @returns when that was over */
  rollOut(): Promise<void>
}

/**
 * @param options.main another entry of Homeostat
 * @param options.commandExpiry in place of the lab's short one
 */
export function clusterOf(seed: number, options: { main?: string; commandExpiry?: string } = {}): Performance<Uc1Stage>['rig'] {
  return {
    ports: ['runtime', LEDGER, ...PODS.map(portName)],
    rules: join(import.meta.dirname, 'rules'),
    values: { pod: replacedPod(seed) },
    programs: () => ({ ledger: { script: join(import.meta.dirname, 'ledger.ts') }, runtime: { script: join(import.meta.dirname, 'runtime.ts') } }),
    drivers: ({ ports }) => {
      const api = `http://127.0.0.1:${ports['runtime']}`
      return {
        http: { endpoints: { replace: { method: 'POST', url: `${api}/pods/{target}/replace`, statusUrl: `${api}/replacements/{key}`, timeout: '5s' } } }
      }
    },
    ...(options.main === undefined ? {} : { main: options.main }),
    settings: ({ folder }) => decideSettings(folder, options.commandExpiry)
  }
}

/** The ledger and the pods are up. */
export async function openStage(rig: Rig): Promise<Uc1Stage> {
  for (const pod of PODS) writeFileSync(configFile(rig, pod), GOOD_CONFIG)
  const stage = stageOf(rig)
  await rig.start('ledger')
  await rig.start('runtime')
  if ((await until(rig, START_DEADLINE_MS, stage.isReady)) === undefined && !rig.signal.aborted) throw new Error('the pods do not become ready')
  return stage
}

function decideSettings(folder: string, commandExpiry: string | undefined): Pick<ConfigInput, 'decide'> {
  const { decide } = fastSettings(folder)
  return { decide: commandExpiry === undefined ? decide : { ...decide, commandExpiry } }
}

const replacedPod = (seed: number): Pod => PODS[seed % PODS.length]!

function stageOf(rig: Rig): Uc1Stage {
  const ledger = (): ReturnType<Rig['find']>[number] => {
    const [found] = rig.find('ledger')
    if (found === undefined) throw new Error('the ledger does not run')
    return found
  }
  const events = (): PodEvent[] => {
    const file = eventsFile(rig)
    if (!existsSync(file)) return []
    const lines = readFileSync(file, 'utf8').split('\n')
    return lines.slice(0, -1).map(line => JSON.parse(line) as PodEvent)
  }
  const isReady = async (): Promise<boolean> => (await Promise.all(PODS.map(pod => answers(rig, portName(pod), '/readyz')))).every(Boolean)
  return {
    rig,
    replaced: replacedPod(rig.seed),
    broken: rig.random.fork('broken').pick(PODS),
    events,
    isReady,
    stopLedger: () => kill(ledger(), 'SIGSTOP'),
    continueLedger: () => kill(ledger(), 'SIGCONT'),
    configure(pod, isGood) {
      writeFileSync(configFile(rig, pod), isGood ? GOOD_CONFIG : BAD_CONFIG)
      for (const found of findProcesses(rig.folder)) if (found.argv.includes(pod)) kill(found)
    },
    async rollOut() {
      const change = { kind: 'change', id: 'checkout-2', environment: rig.environment, target: 'lab/checkout', actor: 'ci', what: 'deploy', by: 'ci' }
      const fromMs = Date.now()
      const before = events().filter(({ event }) => event === 'start').length
      await announce(rig, { ...change, fromMs, toMs: null })
      await fetch(`http://127.0.0.1:${rig.ports['runtime']}/rollout`, { method: 'POST' })
      await until(rig, START_DEADLINE_MS, async () => events().filter(({ event }) => event === 'start').length >= before + PODS.length && (await isReady()))
      await announce(rig, { ...change, fromMs, toMs: Date.now() })
    }
  }
}

/** Waits until every incident since then is over, there is one, and all pods are ready. */
export async function untilResolved({ rig, isReady }: Uc1Stage, sinceMs: number): Promise<void> {
  await until(rig, RESOLVED_DEADLINE_MS, async () => {
    const stories = await storiesSince(rig, sinceMs).catch(() => [])
    return stories.length > 0 && stories.every(({ incident }) => incident.status === 'resolved') && (await isReady())
  })
}

/** The pods send the spans and metrics of this cluster; they are well at its end, or none of them counts. */
export async function coverageOf({ isReady }: Uc1Stage): Promise<{ members: number; answering: number }> {
  return { members: PODS.length, answering: (await isReady()) ? PODS.length : 0 }
}

/** Starts of the pods since `fromMs` that were restarts: what a supervisor counts. */
export function restartsSince(events: readonly PodEvent[], fromMs: number, pod?: Pod): PodEvent[] {
  return events.filter(({ atMs, event, restarts, pod: of }) => atMs >= fromMs && event === 'start' && restarts > 0 && (pod === undefined || of === pod))
}

/** The third restart of a pod since `fromMs`: from here on a loop can be told from chance. Of whichever pod comes to it first, unless one is named. */
export function thirdRestart(events: readonly PodEvent[], fromMs: number, pods: readonly Pod[] = PODS): PodEvent | undefined {
  const thirds = pods.flatMap(pod => restartsSince(events, fromMs, pod).slice(2, 3))
  return thirds.sort((a, b) => a.atMs - b.atMs)[0]
}
