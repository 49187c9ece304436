// Appends of the Kafka log over a producer that the test answers: what goes together, what is rejected, who is held up.

import { describe, expect, test } from 'vitest'
import { type KafkaCall, kafkaAppends } from '../../../../pipeline/log/kafka/kafka-appends.ts'
import type { KafkaClient, KafkaProducer, ProduceBatch } from '../../../../pipeline/log/kafka/kafka-client.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { bytes, countingMeter, quietLogger } from '../../../support/log-tools.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

const aCall = (texts: readonly string[], partitions: readonly number[] = texts.map(() => 0), topic = 't'): KafkaCall => ({
  topic,
  partitions,
  records: texts.map(text => ({ key: 'k', value: bytes(text), headers: {} }))
})
const textsOf = (batch: ProduceBatch): string[] => batch.records.map(record => Buffer.from(record.value!).toString())

/** Appends over producers whose sends wait for the test. */
function aWorld() {
  const sends: { producer: number; batches: readonly ProduceBatch[]; answer: PromiseWithResolvers<readonly number[]> }[] = []
  const closed: number[] = []
  let opened = 0
  const client = {
    async openProducer(): Promise<KafkaProducer> {
      const producer = opened++
      return {
        send(batches) {
          const answer = Promise.withResolvers<readonly number[]>()
          sends.push({ producer, batches, answer })
          return answer.promise
        },
        async close() {
          closed.push(producer)
        }
      }
    }
  } as KafkaClient
  const clock = virtualClock(1_000)
  const appends = kafkaAppends({ client, clock, logger: quietLogger, meter: countingMeter(), groupCommitMs: 0 })
  return { appends, sends, closed, clock, opened: () => opened }
}
/** Lets everything run that can. */
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve))
}

describe('appends to Kafka', () => {
  test('what waits during a send goes with the next one, one batch a partition, calls in order and whole', async () => {
    const { appends, sends } = aWorld()
    const first = appends.push(aCall(['a']))
    await turns()
    const second = appends.push(aCall(['b', 'c', 'd'], [0, 1, 0]))
    const third = appends.push(aCall(['e', 'f'], [1, 0]))
    await turns()
    expect(sends).toHaveLength(1)
    sends[0]!.answer.resolve([10])
    expect(await first).toEqual([10])
    await turns()
    expect(sends).toHaveLength(2)
    const { batches } = sends[1]!
    expect(batches.map(batch => [batch.partition, textsOf(batch)])).toEqual([
      [0, ['b', 'd', 'f']],
      [1, ['c', 'e']]
    ])
    sends[1]!.answer.resolve([11, 70])
    expect([await second, await third]).toEqual([
      [11, 70, 12],
      [71, 13]
    ])
  })

  test('a batch stays below the limit of a topic, and a call that is larger goes alone', async () => {
    const { appends, sends } = aWorld()
    const large = 'x'.repeat(500_000)
    const calls = [aCall(['first']), aCall([large]), aCall([large]), aCall([large, large, large]), aCall(['last'])]
    for (const call of calls) void appends.push(call)
    for (let index = 0; index < 4; index++) {
      await turns()
      sends[index]!.answer.resolve(sends[index]!.batches.map(() => 0))
    }
    await turns()
    expect(sends.map(({ batches }) => batches.flatMap(batch => batch.records.map(record => record.value!.length)))).toEqual([
      [5, 500_000],
      [500_000],
      [500_000, 500_000, 500_000],
      [4]
    ])
  })

  test('a rejected send rejects its calls, closes its producer, and the next one has another', async () => {
    const { appends, sends, closed, opened } = aWorld()
    const lost = [appends.push(aCall(['a'])), appends.push(aCall(['b'], [3]))].map(one => one.catch((error: AppError) => error.code))
    await turns()
    sends[0]!.answer.reject(new AppError('log_unavailable', 'out of order'))
    expect(await Promise.all(lost)).toEqual(['log_unavailable', 'log_unavailable'])
    const next = appends.push(aCall(['c']))
    await turns()
    expect([sends[1]!.producer, closed, opened()]).toEqual([1, [0], 2])
    sends[1]!.answer.resolve([5])
    expect(await next).toEqual([5])
  })

  test('what is too large for the topic is refused alone, those beside it are written', async () => {
    const { appends, sends } = aWorld()
    const results = ['a', 'too large', 'c'].map(text => appends.push(aCall([text])).catch((error: AppError) => error.code))
    await turns()
    sends[0]!.answer.reject(new AppError('record_too_large', 'no'))
    for (let index = 1; index <= 3; index++) {
      await turns()
      const [text] = textsOf(sends[index]!.batches[0]!)
      if (text === 'too large') sends[index]!.answer.reject(new AppError('record_too_large', 'no'))
      else sends[index]!.answer.resolve([index])
    }
    expect(await Promise.all(results)).toEqual([[1], 'record_too_large', [3]])
  })

  test('while a send hangs, what waits is refused unsent, and so is what comes; the send itself may still succeed', async () => {
    const { appends, sends, clock } = aWorld()
    const hanging = appends.push(aCall(['a']))
    await turns()
    const waiting = appends.push(aCall(['b'])).catch((error: AppError) => error.code)
    await turns()
    await clock.advance(2_900)
    const later = appends.push(aCall(['c'])).catch((error: AppError) => error.code)
    await clock.advance(200)
    expect([await waiting, await later]).toEqual(['log_unavailable', 'log_unavailable'])
    await expect(appends.push(aCall(['d']))).rejects.toMatchObject({ code: 'log_unavailable' })
    expect(sends).toHaveLength(1)
    sends[0]!.answer.resolve([7])
    expect(await hanging).toEqual([7])
    const after = appends.push(aCall(['e']))
    await turns()
    sends[1]!.answer.resolve([8])
    expect(await after).toEqual([8])
    expect(textsOf(sends[1]!.batches[0]!)).toEqual(['e'])
  })

  test('a closed one refuses what is left', async () => {
    const { appends, sends, closed } = aWorld()
    const under = appends.push(aCall(['a']))
    await turns()
    const waiting = appends.push(aCall(['b'])).catch((error: AppError) => error.code)
    await appends.close()
    sends[0]!.answer.resolve([0])
    await under
    expect([await waiting, closed]).toEqual(['log_unavailable', [0]])
  })
})
