import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AnswerJoiner, joinAnswers } from '../../../../pipeline/log/kafka/kafkajs-socket.ts'

const READ_BYTES = 64 * 2 ** 10 // From here on an answer is read in place.
const answerBytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 300 }),
  fc.integer({ min: READ_BYTES - 10, max: 3 * READ_BYTES }).map(length => new Uint8Array(length).map((_, at) => (at * 7) >>> 3))
)

function framed(payload: Uint8Array): Buffer {
  const size = Buffer.alloc(4)
  size.writeInt32BE(payload.length)
  return Buffer.concat([size, payload])
}

/** Writes as a socket does: as much as is there, and fits into the room. */
function read(joiner: AnswerJoiner, wire: Buffer, pieces: readonly number[]): boolean {
  for (let at = 0, turn = 0; at < wire.length; turn++) {
    const room = joiner.room()
    const count = wire.copy(room, 0, at, at + pieces[turn % pieces.length]!)
    if (!joiner.take(count)) return false
    at += count
  }
  return true
}

describe('answers of a broker', () => {
  it('come whole and in order, in whatever pieces they were read', () => {
    const pieces = fc.array(fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 4 * READ_BYTES })), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.array(answerBytes, { maxLength: 8 }), pieces, (payloads, sizes) => {
        const seen: Buffer[] = []
        const joiner = joinAnswers(
          answer => seen.push(answer),
          error => expect.fail(error.message)
        )
        expect(read(joiner, Buffer.concat(payloads.map(framed)), sizes)).toBe(true)
        expect(seen.length).toBe(payloads.length)
        for (const [index, payload] of payloads.entries()) expect(seen[index]!.equals(framed(payload))).toBe(true)
      })
    )
  })

  it('are read in place once they have begun', () => {
    const joiner = joinAnswers(
      () => {},
      error => expect.fail(error.message)
    )
    const wire = framed(new Uint8Array(4 * READ_BYTES))
    const first = joiner.room()
    joiner.take(wire.copy(first, 0, 0, 100))
    expect(joiner.room().length).toBe(wire.length - 100)
  })

  it.each([
    ['text of another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n')],
    ['a size below zero', Buffer.from('ffffffff00000000', 'hex')],
    ['less than the number of a request', Buffer.from('0000000300000000', 'hex')]
  ])('are refused without taking memory: %s', (_, wire) => {
    const errors: string[] = []
    const joiner = joinAnswers(
      () => expect.fail('an answer'),
      error => errors.push(error.message)
    )
    expect(read(joiner, wire, [100])).toBe(false)
    expect(errors).toEqual([expect.stringMatching(/^an answer of -?\d+ bytes: what listens there is no Kafka broker/)])
  })
})
