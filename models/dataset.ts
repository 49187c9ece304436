// Labelled rows for the failure predictor: features at an instant, and whether the entity failed within the horizon.
//
// Point in time: a row holds only what was known then. Rows inside an incident are left out (the failure is there
// already), and so are rows too young to know their future. Split by time, with a gap of one horizon, so that no
// held-out row's future was seen in training.

export interface FeatureRow {
  entity: string
  atMs: number
  vector: Float64Array
}
export interface FailureInterval {
  /** Entity or service that was the first cause. */
  entity: string
  service: string
  startedAtMs: number
  /** null while it lasts. */
  endedAtMs: number | null
}
export interface LabelledRow extends FeatureRow {
  failed: 0 | 1
}
export interface Dataset {
  train: LabelledRow[]
  heldOut: LabelledRow[]
}

/**
 * @param rows      in any order
 * @param horizonMs a failure that starts within this time after the row makes it positive
 * @param heldOutShare share of the time span that is kept aside at its end, 0..1
 * @param nowMs     rows younger than `nowMs − horizonMs` have no known future
 */
export function labelRows(
  rows: readonly FeatureRow[],
  failures: readonly FailureInterval[],
  options: { horizonMs: number; heldOutShare: number; nowMs: number }
): Dataset {
  const { horizonMs, heldOutShare, nowMs } = options
  const byEntity = Map.groupBy(failures, failure => failure.entity)
  const byService = Map.groupBy(failures, failure => failure.service)
  const labelled: LabelledRow[] = []
  for (const row of rows) {
    if (row.atMs > nowMs - horizonMs) continue
    const own = byEntity.get(row.entity) ?? byService.get(serviceOf(row.entity)) ?? []
    const inside = own.some(failure => row.atMs >= failure.startedAtMs && row.atMs <= (failure.endedAtMs ?? nowMs))
    if (inside) continue
    const failed = own.some(failure => failure.startedAtMs > row.atMs && failure.startedAtMs <= row.atMs + horizonMs)
    labelled.push({ ...row, failed: failed ? 1 : 0 })
  }
  labelled.sort((a, b) => a.atMs - b.atMs)
  if (labelled.length === 0) return { train: [], heldOut: [] }
  const firstMs = labelled[0]!.atMs
  const cutMs = firstMs + (1 - heldOutShare) * (labelled.at(-1)!.atMs - firstMs)
  return { train: labelled.filter(row => row.atMs <= cutMs - horizonMs), heldOut: labelled.filter(row => row.atMs > cutMs) }
}

function serviceOf(entity: string): string {
  const at = entity.indexOf('@')
  return at <= 0 ? entity : entity.slice(0, at)
}
