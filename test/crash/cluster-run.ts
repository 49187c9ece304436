// The crash run against a cluster: kill -9 and SIGSTOP (past the session) of every process and of the broker, one after another.
//
// Beside the promises of the single run: somebody does the victim's work again within 15 s, and the verdicts on a scripted stream are
// those of a detector that nobody disturbed. The supervisor starts again what was killed; the run only hits and looks.

import { openCluster, type Cluster } from '../../infra/lab/cluster.ts'
import { clusterConfigs, type KafkaClientName, SESSION_TIMEOUT_MS } from '../../infra/lab/cluster/configs.ts'
import { ownershipFailures } from '../../infra/lab/cluster/ownership.ts'
import { startFleet } from '../../infra/lab/fleet.ts'
import { openProbes, type Probes } from '../../infra/lab/probes.ts'
import { seeded } from '../../infra/lab/seeded.ts'
import { WARMUP_MS } from '../../infra/lab/settings.ts'
import { readWitness } from '../../infra/lab/witness.ts'
import { type Config, configSchema } from '../../schemas/config.ts'
import { type CountingSender, startCountingSender } from './counting-sender.ts'
import { afterNextEffect, effectCount, faultLoop, type RunOptions, wait } from './fault-loop.ts'
import { type CrashFindings, findingsOf, holds, untilStored } from './findings.ts'
import { hit } from './hit.ts'
import { type Instant, planInstants } from './instants.ts'
import { startScriptedStream } from './scripted-stream.ts'
import { TAKEOVER_MAX_MS, untilMs } from './takeover.ts'
import { compareVerdicts, type VerdictFindings } from './verdicts.ts'

const EFFECT_WAIT_MAX_MS = 8_000

export interface ClusterResult extends CrashFindings, VerdictFindings {
  pass: boolean
  seed: number
  distributed: true
  instants: number
  /** Of each victim and kind, the longest. */
  takeoverMsMax: Record<string, number>
  /** Sentences about hits whose work nobody took up in time. */
  late: string[]
  /** What was not as it should be when all was over: processes, owners. */
  failures: string[]
  requests: CountingSender['requests']
}

export interface ClusterRunOptions extends RunOptions {
  /** How many hits; of a rolling restart: each process once. */
  instants: number | 'rolling'
  client: KafkaClientName
}

export async function runCluster({ instants, client, seed, keep, say, signal }: ClusterRunOptions): Promise<ClusterResult> {
  const cluster = await openCluster(seed, { client })
  const planned = instantsOf(cluster, instants, seed)
  const probes: Probes[] = []
  let pass = false
  try {
    const { homeostat, fleets, plan } = cluster
    say(`run folder ${cluster.folder}, seed ${seed}; ready after ${await homeostat.start()} ms`)
    await Promise.all(fleets.map(startFleet))
    probes.push(...fleets.map(openProbes))
    const sender = startCountingSender(plan.otlp.http)
    const script = startScriptedStream(plan.otlp.http, seed)
    await wait(WARMUP_MS, signal)
    const over = new AbortController()
    const watched = fleets.map((layout, index) => ({ layout, probes: probes[index]! }))
    const faults = faultLoop({ homeostat, fleets: watched, seed, say, signal: AbortSignal.any([over.signal, signal]) })
    const hits = await hitLoop({ cluster, sender, instants: planned, say, signal })
    over.abort()
    await faults
    await Promise.all([sender.stop(), script.stop()])
    say(`${script.sentS()} seconds of the script are in; waiting until all is stored`)
    await untilStored(homeostat, signal)
    const failures = await settledFailures(cluster)
    const findings = await findingsOf(
      homeostat,
      sender,
      fleets.flatMap(({ folder }) => readWitness(folder))
    )
    const verdicts = await compareVerdicts(cluster.broker.brokers, detectConfig(cluster))
    pass = hits.count === planned.length && hits.late.length === 0 && failures.length === 0 && holds(findings) && sameVerdicts(verdicts)
    return {
      ...{ pass, seed, distributed: true, instants: hits.count, takeoverMsMax: hits.takeoverMsMax, late: hits.late, failures },
      ...findings,
      ...verdicts,
      requests: sender.requests
    }
  } finally {
    for (const each of probes) each.close()
    await cluster.end(keep || !pass)
  }
}

function detectConfig({ plan, fleets }: Cluster): Config {
  return configSchema.parse(clusterConfigs(plan, fleets).find(({ role }) => role === 'detect')!.config)
}

function sameVerdicts({ verdicts, verdictsMissing, verdictsExtra }: VerdictFindings): boolean {
  return verdicts > 0 && verdictsMissing + verdictsExtra === 0
}

interface HitLoop {
  cluster: Cluster
  sender: CountingSender
  instants: readonly Instant[]
  say(text: string): void
  signal: AbortSignal
}

interface Hits {
  count: number
  takeoverMsMax: Record<string, number>
  late: string[]
}

/** A rolling restart takes each process once; otherwise each is killed and stopped, the broker too. */
function instantsOf({ supervised }: Cluster, instants: number | 'rolling', seed: number): Instant[] {
  const processes = [...supervised.values()].filter(({ role }) => role !== 'clickhouse').map(({ name }) => name)
  const shared = { sessionMs: SESSION_TIMEOUT_MS, draw: seeded(seed).fork('instants') }
  return instants === 'rolling'
    ? planInstants({ ...shared, victims: processes, kinds: ['restart'], count: processes.length })
    : planInstants({ ...shared, victims: ['broker', ...processes], kinds: ['kill', 'pause'], count: instants })
}

async function hitLoop({ cluster, sender, instants, say, signal }: HitLoop): Promise<Hits> {
  const hits: Hits = { count: 0, takeoverMsMax: {}, late: [] }
  for (const instant of instants) {
    await untilInstant(cluster, instant, signal)
    if (signal.aborted) break
    const { takenOverMs, readyMs, owned } = await hit(cluster, sender, instant)
    hits.count++
    const what = `${instant.kind} ${instant.victim}`
    hits.takeoverMsMax[what] = Math.max(hits.takeoverMsMax[what] ?? 0, takenOverMs ?? Number.POSITIVE_INFINITY)
    const told = `${what}${owned > 0 ? `, owner of ${owned} partitions` : ''}: worked on again after ${takenOverMs} ms, ready after ${readyMs} ms`
    say(`instant ${hits.count} of ${instants.length}: ${told}, ${effectCount(cluster.fleets)} effects so far`)
    if (takenOverMs === null || takenOverMs > TAKEOVER_MAX_MS || readyMs === null) hits.late.push(told)
  }
  return hits
}

async function untilInstant({ fleets }: Cluster, { afterEffect, waitMs }: Instant, signal: AbortSignal): Promise<void> {
  if (afterEffect) await afterNextEffect(fleets, waitMs, EFFECT_WAIT_MAX_MS, signal)
  else await wait(waitMs, signal)
}

/** Everybody is ready and owns what it should, a while after the last hit. */
async function settledFailures(cluster: Cluster): Promise<string[]> {
  let failures: string[] = []
  await untilMs(async () => {
    const names = [...cluster.supervised.keys()]
    const down = (await Promise.all(names.map(name => cluster.unready(name)))).filter(reason => reason !== undefined)
    failures = [...down, ...(await ownershipFailures(cluster.broker.brokers, cluster.plan.environments))]
    return failures.length === 0
  }, Date.now())
  return failures
}
