import { describe, expect, it } from 'vitest'
import { redactArguments } from '../../../../actuators/drivers/redact.ts'

describe('redactArguments', () => {
  it.each([
    [
      ['serve', '--password=hunter22', '--port=80'],
      ['serve', '--password=[redacted]', '--port=80']
    ],
    [
      ['--api-key', 'k-123', '-v'],
      ['--api-key', '[redacted]', '-v']
    ],
    [
      ['--token', '--verbose'],
      ['--token', '--verbose']
    ],
    [
      ['DB_PASSWORD=x', 'PATH=/bin'],
      ['DB_PASSWORD=[redacted]', 'PATH=/bin']
    ],
    [['postgres://shop:hunter22@db/shop'], ['postgres://[redacted]@db/shop']],
    [
      ['-H', 'authorization: Bearer abc.def'],
      ['-H', 'authorization: [redacted]']
    ],
    [['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig'], ['[redacted]']],
    [
      ['/bin/sh', '-c', 'sleep 600'],
      ['/bin/sh', '-c', 'sleep 600']
    ]
  ])('%j becomes %j', (argv, redacted) => {
    expect(redactArguments(argv)).toEqual(redacted)
  })
})
