// Whose command it is: what is read of the claims is noted whole or not at all.

import { expect, it } from 'vitest'
import { executions } from '../../../../actuators/execute/executions.ts'
import { encodeRecord } from '../../../../schemas/envelope.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { executionRecord } from '../../../../schemas/execution.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { memoryLog } from '../../../support/memory-log.ts'
import { quiet } from '../../../support/quiet.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

it('a claim of ours that was read while the ledger could not say who we are is open when it can', async () => {
  const log = memoryLog()
  const claim = { commandId: 'c1', incidentId: 'i1', environment: 'lab', target: 'lab/orders', ledgerId: 'ours', partition: 0, offset: 0 }
  await log.append(TOPICS.executions.name, [encodeRecord(executionRecord, { ...claim, expiresAtMs: 2, claimedAtMs: 1 })])
  let isFull = true
  const mine = executions({
    ...{ log, clock: virtualClock(0), logger: quiet },
    ledgerId: () => {
      if (isFull) throw new AppError('log_full', 'the disk is full')
      return 'ours'
    }
  })
  await expect(mine.open()).rejects.toThrow('the disk is full')
  isFull = false
  expect(await mine.open()).toMatchObject([{ commandId: 'c1' }])
})
