// When did a signal really recover? Answered from the times of its samples, not from when a window had forgotten the fault.
//
// A mean over 30 s passes up to 30 s after the service was well again, and the time to repair would carry that lag. So
// the window is begun anew at each sample: the recovery is the earliest sample from which on the check, had it begun
// watching there, would have passed at every sample up to now. One outlier that the check itself tolerates does not
// move it; a violating sample that the check does not tolerate does.

import { type Aggregate, aggregate } from './aggregate.ts'

export interface Sample {
  atMs: number
  value: number
}

const SAMPLES_MAX = 600 // Ten minutes at one a second, newest kept; bounds the quadratic search below.

/**
 * @param samples time-ordered, from the act on
 * @param windowMs the check's window
 * @param passes  the check's expectation for an aggregate over so many samples
 * @returns when the unbroken good run began, or undefined when there is none: somewhere between the last violating sample and the
 *          first good one, so the middle of the two, which is off by half an interval at most either way
 *
 * `count`, and expectations that only a full window can meet (a sum above a bound), cannot be asked of a window just
 * begun. They say that the signal flows, so for them the run begins with the first sample.
 */
export function recoveredAtMs(
  samples: readonly Sample[],
  kind: Aggregate,
  windowMs: number,
  passes: (value: number, samples: number) => boolean
): number | undefined {
  const recent = samples.slice(-SAMPLES_MAX)
  if (recent.length === 0) return undefined
  if (kind === 'count') return recent[0]!.atMs
  for (let start = 0; start < recent.length; start++) if (holdsFrom(recent, start, kind, windowMs, passes)) return runBeganMs(recent, start)
  return kind === 'sum' ? recent[0]!.atMs : undefined
}

function runBeganMs(samples: readonly Sample[], start: number): number {
  const firstMs = samples[start]!.atMs
  return start === 0 ? firstMs : (samples[start - 1]!.atMs + firstMs) / 2
}

function holdsFrom(samples: readonly Sample[], start: number, kind: Aggregate, windowMs: number, passes: (value: number, samples: number) => boolean): boolean {
  let oldest = start
  const values: number[] = []
  for (let end = start; end < samples.length; end++) {
    const newest = samples[end]!
    values.push(newest.value)
    while (samples[oldest]!.atMs <= newest.atMs - windowMs) {
      oldest++
      values.shift()
    }
    const value = aggregate(kind, values)
    if (value === undefined || !passes(value, values.length)) return false
  }
  return true
}
