// Runs a healthy fleet through the real scorer and the real diagnosis on virtual time, and counts what they raise.
//
//   scenario ─points─► Scorer (base, rich, multivariate tiers; absence) ─anomalies─► diagnose ─► incidents
//
// Points are handed over as the OTLP reader would, so that a day of a fleet takes seconds; ratios go back in, as shard.ts does.

import type { Anomaly } from '../../../schemas/anomaly.ts'
import { type Config, configSchema } from '../../../schemas/config.ts'
import type { Incident } from '../../../schemas/incident.ts'
import { type DerivedPoint, POINT_KIND, type PointView } from '../../../schemas/otlp.ts'
import { diagnose, type DiagnoseEvent } from '../../../detectors/diagnose/diagnose.ts'
import { emptyState } from '../../../detectors/diagnose/state.ts'
import { ABSENCE } from '../../../detectors/rules/absence.ts'
import { isBirth } from '../../../detectors/rules/birth.ts'
import { budgetOf } from '../../../detectors/score/budget.ts'
import type { MetricClassName } from '../../../detectors/score/metric-class.ts'
import { isReady } from '../../../detectors/score/multivariate/update.ts'
import { F32_STRIDE, F64, F64_STRIDE, FLAG, STATE, U32, U8, U8_STRIDE } from '../../../detectors/score/record.ts'
import { Scorer } from '../../../detectors/score/scorer.ts'
import { settingsFrom } from '../../../detectors/settings.ts'
import { cursor, ENVIRONMENT, resourceOf } from './points.ts'
import { EDGES, type Scenario } from './scenario.ts'
import { STEP_MS } from './kinds.ts'

const LOOK_MS = 600_000
const EDGES_EVERY_MS = 60_000 // As derive tells them again.
const DAY_MS = 86_400_000
/** A series without a value for so long is not being judged. */
const PATIENCE_MS = 300_000

export interface HealthyRun {
  points: number
  /** Series that can raise an anomaly at all. */
  series: number
  /** Days for which series were judged by the base tier, for which they had a slot, and for which entities had a model that was ready. */
  seriesDays: number
  watchedDays: number
  modelDays: number
  seriesDaysByClass: Map<MetricClassName, number>
  /** Anomalies that opened; absences of entities that were silent are not among them. */
  anomalies: Anomaly[]
  /** Absences of entities that were silent indeed. */
  silences: Anomaly[]
  /** Incidents without a silence among their members, and those with one. */
  incidents: Incident[]
  incidentsOfSilence: Incident[]
  /** Every version of every incident as it was published, in order: what deciding reads. */
  published: Incident[]
}

export function runHealthy(fleet: Scenario, overrides: Record<string, unknown> = {}): HealthyRun {
  const config: Config = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', detect: overrides })
  let nowMs = fleet.fromMs
  const open = (parts?: ReadonlyMap<string, Uint8Array>): Scorer =>
    new Scorer(settingsFrom(config.detect), { budget: budgetOf(config.detect.memoryMax), nowMs: () => nowMs, ...(parts ? { parts } : {}) })
  let scorer = open()
  const state = emptyState()
  const run: HealthyRun = {
    ...{ points: 0, series: 0, seriesDays: 0, watchedDays: 0, modelDays: 0, seriesDaysByClass: new Map() },
    ...{ anomalies: [], silences: [], incidents: [], incidentsOfSilence: [], published: [] }
  }
  const silentIds = new Set<string>()
  const feedBack = ratios()
  const emit = (view: PointView): void => scorer.point(view)
  const tell = (event: DiagnoseEvent): void => {
    for (const effect of diagnose(state, event, nowMs, config.diagnose)) if (effect.kind === 'publish') run.published.push(effect.record)
  }
  const count = (anomaly: Anomaly): void => {
    if (anomaly.status !== 'open') return
    if (anomaly.detector !== ABSENCE || !fleet.isSilent(anomaly.entity, nowMs)) {
      run.anomalies.push(anomaly)
      return
    }
    silentIds.add(anomaly.id)
    run.silences.push(anomaly)
  }

  let listeningSinceMs = nowMs
  let wasUp = true
  for (nowMs += STEP_MS; nowMs <= fleet.toMs; nowMs += STEP_MS) {
    if (fleet.isOut(nowMs)) {
      fleet.step(nowMs, emit)
      wasUp = false
      continue
    }
    if (!wasUp) {
      // Homeostat comes back: from its checkpoint (of one outage: the first has all parts), and silence counts from now on.
      run.points += scorer.stats.points
      scorer = open(scorer.takeDirty())
      listeningSinceMs = nowMs
      wasUp = true
    }
    scorer.begin(nowMs)
    fleet.step(nowMs, emit)
    scorer.close(nowMs)
    for (const point of scorer.takeDerived()) scorer.point(feedBack(point))
    scorer.judgeAbsence(nowMs, listeningSinceMs)
    if ((nowMs - fleet.fromMs) % EDGES_EVERY_MS === STEP_MS) {
      for (const [source, target] of EDGES) {
        tell({ kind: 'edge', record: { environment: ENVIRONMENT, source, target, instrumented: target !== 'store', lastSeenMs: nowMs } })
      }
    }
    for (const instance of scorer.takeInstances()) if (isBirth(instance, fleet.fromMs)) tell({ kind: 'instance', record: instance })
    for (const anomaly of scorer.take()) {
      count(anomaly)
      tell({ kind: 'anomaly', record: anomaly })
    }
    if (state.open.size > 0) tell({ kind: 'tick' })
    if ((nowMs - fleet.fromMs) % LOOK_MS === 0) look(scorer, nowMs, run)
  }
  run.points += scorer.stats.points
  const newest = new Map(run.published.map(incident => [incident.id, incident]))
  for (const incident of newest.values()) {
    if (incident.resolution === 'merged') continue
    const isOfSilence = incident.members.some(({ anomalyId }) => silentIds.has(anomalyId))
    ;(isOfSilence ? run.incidentsOfSilence : run.incidents).push(incident)
  }
  return run
}

/** Ratios of closed windows as the points that the shard reads back. */
function ratios(): (point: DerivedPoint) => PointView {
  const known = new Map<string, PointView>()
  const resources = new Map<string, PointView['resource']>()
  return ({ entity: { namespace, service, instance }, name, unit, timeMs, startMs, attributes, data }) => {
    const entity = `${namespace}/${service}@${instance}`
    const key = `${entity}\n${name}\n${JSON.stringify(attributes)}`
    let view = known.get(key)
    if (view === undefined) {
      const resource = resources.get(entity) ?? resourceOf(entity)
      resources.set(entity, resource)
      view = cursor(resource, name, unit, POINT_KIND.gauge, { ...attributes })
      known.set(key, view)
    }
    view.timeMs = timeMs
    view.startMs = startMs
    view.value = data.kind === 'gauge' ? data.value : Number.NaN
    return view
  }
}

/** Counts who is judged, once every LOOK_MS. */
function look({ table, tiers, entities }: Scorer, nowMs: number, run: HealthyRun): void {
  const days = LOOK_MS / DAY_MS
  let series = 0
  for (const { u8, u32, f64, used } of table.pages) {
    for (let row = 0; row < used; row++) {
      const { class: of } = table.descriptors.get(u32[row * F32_STRIDE + U32.descriptor]!)
      if (of.above === null && of.below === null) continue
      if (u32[row * F32_STRIDE + U32.samples] === 0) continue
      series++
      const state = u8[row * U8_STRIDE + U8.state]
      if (nowMs - f64[row * F64_STRIDE + F64.lastTimeMs]! > PATIENCE_MS) continue
      if ((u8[row * U8_STRIDE + U8.flags]! & FLAG.watched) !== 0) run.watchedDays += days
      if (state !== STATE.normal && state !== STATE.open) continue
      run.seriesDays += days
      run.seriesDaysByClass.set(of.name, (run.seriesDaysByClass.get(of.name) ?? 0) + days)
    }
  }
  run.series = Math.max(run.series, series)
  for (const model of tiers.models.models) {
    if (model !== undefined && isReady(model.state) && nowMs - entities.all[model.entity]!.maxEventMs < PATIENCE_MS) run.modelDays += days
  }
}
