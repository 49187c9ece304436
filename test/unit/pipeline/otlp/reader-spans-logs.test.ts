import { describe, expect, test } from 'vitest'
import { aReader, seenLogs, seenSpans } from './support/collect.ts'
import { aRequest } from './support/requests.ts'

describe('spans', () => {
  const aSpan = (idBytes: number): Uint8Array =>
    aRequest({
      item: writer => {
        writer.bytes(
          1,
          Uint8Array.from({ length: 16 }, (_, index) => index + 1)
        )
        writer.bytes(2, new Uint8Array(idBytes).fill(0xab))
        writer.text(5, 'GET /basket')
        writer.fixed64(7, 2_000_000n)
        writer.fixed64(8, 1_000_000n)
      }
    })

  test('that end before they start lasted nothing', () => {
    expect(seenSpans(aSpan(8)).spans[0]).toMatchObject({ durationMs: 0, timeMs: 2, name: 'GET /basket', traceLanes: '090a0b0c0d0e0f10' })
  })

  test('with an id of a wrong length are rejected', () => {
    expect(seenSpans(aSpan(7)).result).toEqual({ accepted: 0, rejected: 1, reason: 'a span has a trace id or span id of the wrong length' })
  })

  test('of one name have one name hash', () => {
    const hashes = new Set<number>()
    const sink = { span: (view: { nameHash: number }) => void hashes.add(view.nameHash) }
    const reader = aReader()
    reader.readSpans(aSpan(8), sink)
    reader.readSpans(aSpan(0), sink)
    expect(hashes.size).toBe(1)
  })
})

describe('logs', () => {
  const aLog = (body: string): Uint8Array =>
    aRequest({
      item: writer => {
        writer.fixed64(11, 5_000_000n)
        writer.message(5, () => writer.text(1, body))
      }
    })
  const bodyOf = (request: Uint8Array, charsMax: number): string => {
    let body = ''
    aReader().readLogs(request, {
      log(view) {
        body = view.body(charsMax)
      }
    })
    return body
  }

  test('without a time have their observed time', () => {
    expect(seenLogs(aLog('x')).logs[0]).toMatchObject({ timeMs: 5, observedMs: 5 })
  })

  test('are cut at characters, never inside one', () => {
    expect(bodyOf(aLog('grün und blau'), 4)).toBe('grün')
    expect(bodyOf(aLog('a🙂b'), 2)).toBe('a')
    expect(bodyOf(aLog('a🙂b'), 3)).toBe('a🙂')
    expect(bodyOf(aLog(''), 3)).toBe('')
  })
})
