// In a file of its own: the index of entities belongs to the process, and this fills it.

import { expect, test } from 'vitest'
import { ENTITIES_MAX } from '../../../../pipeline/otlp/resources.ts'
import { seenPoints, aReader } from './support/collect.ts'
import { aPoint, attribute, bytesOf } from './support/requests.ts'

test('a flood of entities is bounded: above the limit records are rejected and counted, known entities go on', () => {
  const reader = aReader()
  const known = aPoint({ resource: [['service.name', 'orders']] })
  expect(seenPoints(known, reader).result.accepted).toBe(1)
  const scope = known.subarray(4 + known[3]! + 2)
  const flood = bytesOf(writer => {
    for (let index = 0; index < ENTITIES_MAX + 10; index++) {
      writer.message(1, () => {
        writer.message(1, () => attribute(writer, 1, 'service.name', `s${index}`))
        writer.bytes(2, scope)
      })
    }
  })
  const result = reader.readMetrics(flood, { point: () => undefined })
  expect(result.accepted).toBe(ENTITIES_MAX - 1)
  expect(result).toMatchObject({ rejected: 11, reason: `more than ${ENTITIES_MAX} entities` })
  expect(seenPoints(known, reader).result.accepted).toBe(1)
})
