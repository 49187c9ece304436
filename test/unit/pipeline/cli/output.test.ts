// What the command line prints: the words of strangers cannot rewrite the screen of who reads them.

import { afterEach, expect, test, vi } from 'vitest'
import { openOutput } from '../../../../pipeline/cli/output.ts'

afterEach(() => vi.restoreAllMocks())

function printed(use: (output: ReturnType<typeof openOutput>) => void, json = false): string {
  let text = ''
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation(piece => {
      text += piece
      return true
    })
  }
  use(openOutput({ json }))
  vi.restoreAllMocks()
  return text
}

const EVIL = 'shop\u001b]0;owned\u0007\u001b[2J\r\u009b1A@ü\u{1f600}'

test('control characters in a table, a text or a remark are shown, not obeyed; other characters stay', () => {
  const shown = 'shop\\x1b]0;owned\\x07\\x1b[2J\\x0d\\x9b1A@ü\u{1f600}'
  expect(printed(output => output.table([{ entity: EVIL }]))).toContain(shown)
  expect(printed(output => output.result({}, `first\n\t${EVIL}`))).toBe(`first\n\t${shown}\n`)
  expect(printed(output => output.say(EVIL))).toBe(`${shown}\n`)
})

test('styles pass, and data for programs is left as it is', () => {
  expect(printed(output => output.result({}, '\u001b[1mbold\u001b[22m'))).toBe('\u001b[1mbold\u001b[22m\n')
  expect(JSON.parse(printed(output => output.result({ entity: EVIL }, ''), true))).toEqual({ entity: EVIL })
})
