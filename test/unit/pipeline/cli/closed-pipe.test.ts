// `homeostat incidents | head -1`: a reader that leaves early ends nothing and is no error.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { outliveReaders } from '../../../../pipeline/cli/closed-pipe.ts'

const MODULE = new URL('../../../../pipeline/cli/closed-pipe.ts', import.meta.url).href
/** Writes when its standard input ends, and once more when the first error must have come. */
const WRITER = `
  import { setImmediate } from 'node:timers/promises'
  if (process.argv[1] === 'outlive') (await import('${MODULE}')).outliveReaders(process.stdout, process.stderr)
  for await (const _ of process.stdin);
  process.stdout.write('first\\n')
  await setImmediate()
  process.stdout.write('second\\n')
  await setImmediate()
  process.stderr.write('went on')
  process.exit()`

test.each([
  ['outlive', 0, 'went on'],
  ['die', 1, expect.stringContaining('EPIPE')]
])('a command whose reader is gone: %s', async (how, code, said) => {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', WRITER, how])
  child.stdout.destroy()
  await once(child.stdout, 'close')
  child.stdin.end()
  const [stderr, [status]] = await Promise.all([text(child.stderr), once(child, 'close')])
  expect([status, stderr]).toEqual([code, said])
})

test('another error of a stream is an error still', () => {
  const stream = new PassThrough()
  outliveReaders(stream)
  expect(stream.emit('error', Object.assign(new Error('gone'), { code: 'EPIPE' }))).toBe(true)
  expect(() => stream.emit('error', Object.assign(new Error('full'), { code: 'ENOSPC' }))).toThrow('full')
})
