import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { joinAnswers } from '../../../../pipeline/log/kafka/kafkajs-socket.ts'

const answerBytes = fc.uint8Array({ minLength: 4, maxLength: 300 })

function framed(payload: Uint8Array): Buffer {
  const size = Buffer.alloc(4)
  size.writeInt32BE(payload.length)
  return Buffer.concat([size, payload])
}

describe('answers of a broker', () => {
  it('come whole and in order, in whatever pieces they were read', () => {
    fc.assert(
      fc.property(fc.array(answerBytes, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }), (payloads, cuts) => {
        const seen: string[] = []
        const take = joinAnswers(
          answer => seen.push(answer.toString('hex')),
          error => expect.fail(error.message)
        )
        const wire = Buffer.concat(payloads.map(framed))
        const readBuffer = Buffer.alloc(200)
        for (let at = 0, turn = 0; at < wire.length; turn++) {
          const count = wire.copy(readBuffer, 0, at, at + cuts[turn % cuts.length]!)
          expect(take(readBuffer.subarray(0, count))).toBe(true)
          at += count
        }
        expect(seen).toEqual(payloads.map(payload => framed(payload).toString('hex')))
      })
    )
  })

  it.each([
    ['text of another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n')],
    ['a size below zero', Buffer.from('ffffffff00000000', 'hex')],
    ['less than the number of a request', Buffer.from('0000000300000000', 'hex')]
  ])('are refused without taking memory: %s', (_, wire) => {
    const errors: string[] = []
    const take = joinAnswers(
      () => expect.fail('an answer'),
      error => errors.push(error.message)
    )
    expect(take(wire)).toBe(false)
    expect(errors).toEqual([expect.stringMatching(/^an answer of -?\d+ bytes: what listens there is no Kafka broker/)])
  })
})
