// The comparison behind "0 changed verdicts" can fail: a lost point, a lost verdict and a changed score are each seen.

import { describe, expect, it } from 'vitest'
import { fastSettings } from '../../../infra/lab/settings.ts'
import { protobufFromJson } from '../../../pipeline/intake/json.ts'
import type { Anomaly } from '../../../schemas/anomaly.ts'
import { configSchema } from '../../../schemas/config.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { script } from '../../crash/scripted-stream.ts'
import { differences, undisturbedDetector } from '../../crash/verdicts.ts'

const START_MS = 1_700_000_000_000
const SECONDS = 200
const config = configSchema.parse(fastSettings('/nowhere'))

/** What a detector says of the script, the seconds of `without` never having arrived. */
function verdictsOf(without: readonly number[] = []): readonly Anomaly[] {
  const detector = undisturbedDetector(config)
  const secondOf = script(1, START_MS)
  for (let second = 0; second < SECONDS; second++) {
    const value = protobufFromJson('metrics', new TextEncoder().encode(JSON.stringify(secondOf(second))))
    if (without.includes(second)) continue
    const appendedAtMs = START_MS + second * 1_000 + 5
    detector.take({ topic: TOPICS.metrics.name, partition: 0, offset: second, key: 'script', value, headers: {}, appendedAtMs })
  }
  return detector.anomalies
}

describe('verdicts on the scripted stream', () => {
  const undisturbed = verdictsOf()

  it('are many, and the same each time', () => {
    expect(differences(undisturbed, verdictsOf())).toMatchObject({ verdictsMissing: 0, verdictsExtra: 0, verdictsRepeated: 0 })
    expect(differences(undisturbed, undisturbed).verdicts).toBeGreaterThan(20)
  })

  it('differ when a single second was lost', () => {
    const { verdictsMissing, verdictsExtra, examples } = differences(undisturbed, verdictsOf([72]))
    expect(verdictsMissing + verdictsExtra).toBeGreaterThan(0)
    expect(examples.length).toBeGreaterThan(0)
  })

  it('count what was not said, what should not have been said, and what was said twice', () => {
    expect(differences(undisturbed, undisturbed.slice(1))).toMatchObject({ verdictsMissing: 1, verdictsExtra: 0 })
    const [first, ...others] = undisturbed
    const changed = [{ ...first!, score: first!.score + 0.01 }, ...others]
    expect(differences(undisturbed, changed)).toMatchObject({ verdictsMissing: 1, verdictsExtra: 1 })
    expect(differences(undisturbed, [...undisturbed, first!])).toMatchObject({ verdictsMissing: 0, verdictsExtra: 0, verdictsRepeated: 1 })
  })

  it('are compared without the moment of saying so, and without absence', () => {
    const later = undisturbed.map(anomaly => ({ ...anomaly, detectedAtMs: anomaly.detectedAtMs + 7 }))
    const absent = { ...undisturbed[0]!, id: 'another', detector: 'absence' }
    expect(differences(undisturbed, [...later, absent])).toMatchObject({ verdictsMissing: 0, verdictsExtra: 0 })
  })
})
