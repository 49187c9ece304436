// Memory of detection: one number that the user sets, in shares for the tiers, so that no tier can starve another.
//
// Flow: worker (detect.memoryMax) -> budget -> series-table, registry (base), rich-tier, entity-tier. All partitions of a process
// share one budget. What is refused is counted; the base tier never evicts, the rich one gives its slots to what matters more.

import { SLOT_BYTES } from './rich/page.ts'

/**
 * What a series of the base tier costs at most: its record, its places in the index, its share of texts. Of three to six attributes
 * 200 to 450 bytes (bench series); with longer texts a series takes several places, a histogram eight for its buckets.
 */
export const BASE_SERIES_BYTES = 512
/** Of detect.memoryMax; the rest is the entities' (multivariate). */
const BASE_SHARE = 1 / 2
const RICH_SHARE = 1 / 4

/** What all partitions of one process may still take. */
export interface SeriesBudget {
  /** Places of the base tier, BASE_SERIES_BYTES each. */
  left: number
  refused: number
  /** Slots of the rich tier. */
  slotsLeft: number
  /** Bytes of entities' models. */
  entityBytesLeft: number
}

/** Bytes of each tier. @param memoryMax bytes that the state of detection may take in this process */
export function sharesOf(memoryMax: number): { base: number; rich: number; multivariate: number } {
  return { base: memoryMax * BASE_SHARE, rich: memoryMax * RICH_SHARE, multivariate: memoryMax * (1 - BASE_SHARE - RICH_SHARE) }
}

/** The same in what the tiers count. */
export function budgetOf(memoryMax: number): SeriesBudget {
  const { base, rich, multivariate } = sharesOf(memoryMax)
  return { left: Math.floor(base / BASE_SERIES_BYTES), refused: 0, slotsLeft: Math.floor(rich / SLOT_BYTES), entityBytesLeft: Math.floor(multivariate) }
}

/** Gives back what the tables and tiers of a scorer took: it was let go. */
export function giveBack(
  budget: SeriesBudget,
  { table, tiers }: { table: { places: number }; tiers: { rich: { size: number }; models: { bytes: number } } }
): void {
  budget.left += table.places
  budget.slotsLeft += tiers.rich.size
  budget.entityBytesLeft += tiers.models.bytes
}

/** For the base tier alone: `series` of it, and nothing of the others. */
export function baseBudget(series: number): SeriesBudget {
  return { left: series, refused: 0, slotsLeft: 0, entityBytesLeft: 0 }
}

/** Without limits: for one who only reads what others have. */
export function unlimitedBudget(): SeriesBudget {
  const none = Number.MAX_SAFE_INTEGER
  return { left: none, refused: 0, slotsLeft: none, entityBytesLeft: none }
}
