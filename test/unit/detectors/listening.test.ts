import { expect, it } from 'vitest'
import { listening } from '../../../detectors/listening.ts'
import { START_MS } from './builders.ts'

const at = (second: number): number => START_MS + second * 1_000

it('a stretch in which the log took records counts as heard, also when they are read afterwards and out of order', () => {
  const heard = listening(3_000)
  for (const second of [9, 7, 5, 3, 1]) heard.mark(at(second))
  expect(heard.isGapless(at(0), at(11))).toBe(true)
  expect(heard.isGapless(at(0), at(14))).toBe(false)
  heard.markAll(at(11), at(13))
  expect(heard.isGapless(at(0), at(14))).toBe(true)
})

it('a stretch of which nothing speaks does not', () => {
  const heard = listening(3_000)
  heard.mark(at(1))
  heard.mark(at(6))
  expect(heard.isGapless(at(0), at(7))).toBe(false)
  expect(heard.isGapless(at(4), at(7))).toBe(true)
  expect(heard.isGapless(at(0), at(2_000))).toBe(false)
})

it('what lies further back than it remembers was not heard', () => {
  const heard = listening(3_000)
  heard.markAll(at(0), at(3_000))
  expect(heard.isGapless(at(2_500), at(3_000))).toBe(true)
  expect(heard.isGapless(at(0), at(3_000))).toBe(false)
})
