// Checkpoints have one owner at a time: what a process that was replaced still writes counts for nobody, before and after compaction.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkpointStore } from '../../../../pipeline/log/checkpoint-store.ts'
import type { Checkpoint, CheckpointStore, Log, LogRecord } from '../../../../schemas/ports.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { type MemoryLog, memoryLog } from '../../../support/memory-log.ts'
import { seededRandom } from '../../../support/virtual-clock.ts'

const NAME = 'diagnose'
const TOPIC = TOPICS.checkpoints.name
const TURNS_MAX = 4

const holding = (text: string, offset = 0): Checkpoint => ({
  version: 1,
  positions: [{ topic: TOPICS.anomalies.name, partition: 0, offset }],
  parts: new Map([['state', new TextEncoder().encode(text)]])
})
const textOf = (checkpoint: Checkpoint | undefined): string | undefined => {
  const bytes = checkpoint?.parts.get('state')
  return bytes && new TextDecoder().decode(bytes)
}
const claim = async (store: CheckpointStore, generation: number, force = false) => (await store.claim([{ name: NAME, generation }], { force })).owner
const isFenced = expect.objectContaining({ code: 'fenced', retriable: false })

/** The log as compaction leaves it: the last record a key, tombstones gone. */
function compacted(log: MemoryLog): Log {
  const last = new Map<string, LogRecord>()
  for (const record of log.records(TOPIC)) last.set(`${record.partition}/${record.key}`, record)
  const kept = [...last.values()].filter(record => record.value !== null).sort((a, b) => a.offset - b.offset)
  return {
    ...log,
    read: async (from, recordsMax) => kept.filter(record => record.partition === from.partition && record.offset >= from.offset).slice(0, recordsMax)
  }
}
/** What a process that starts now finds, with and without compaction. */
async function found(log: MemoryLog): Promise<string | undefined> {
  const plain = textOf(await checkpointStore(log).load(NAME))
  expect(textOf(await checkpointStore(compacted(log)).load(NAME))).toBe(plain)
  return plain
}

describe('the owner of a checkpoint', () => {
  it('finds what the one before saved, and the one before saves no more', async () => {
    const log = memoryLog()
    const [first, second] = [checkpointStore(log), checkpointStore(log)]
    const one = await claim(first, 1)
    await first.save(NAME, holding('of the first'), one)
    const two = await claim(second, 2)
    expect(textOf(await second.load(NAME))).toBe('of the first')
    await expect(first.save(NAME, holding('of the dead'), one)).rejects.toEqual(isFenced)
    expect([await first.owns(NAME, one), await second.owns(NAME, two)]).toEqual([false, true])
    await second.save(NAME, holding('of the second'), two)
    await expect(first.save(NAME, holding('of the dead'), one)).rejects.toEqual(isFenced)
    expect(await found(log)).toBe('of the second')
  })

  it('is not disturbed by a save that was on its way when it took over', async () => {
    const log = memoryLog()
    // The manifest of the first waits in its process, as in one that is stopped just before it sends.
    let send: () => void = () => {}
    const stopped = new Promise<void>(resolve => {
      send = resolve
    })
    let isStopping = false
    const first = checkpointStore({
      ...log,
      async append(topic, records) {
        if (isStopping && records.some(record => record.partition === 0 && record.value !== null)) await stopped
        return log.append(topic, records)
      }
    })
    const one = await claim(first, 1)
    await first.save(NAME, holding('one'), one)
    isStopping = true
    const saving = first.save(NAME, holding('of the dead'), one)
    const refused = expect(saving).rejects.toEqual(isFenced)
    for (let turn = 0; turn < 10; turn++) await new Promise(resolve => setImmediate(resolve))
    const second = checkpointStore(log)
    const two = await claim(second, 2)
    expect(textOf(await second.load(NAME))).toBe('one')
    send()
    await refused
    expect(await found(log)).toBe('one')
    await second.save(NAME, holding('two'), two)
    expect(await found(log)).toBe('two')
  })

  it('is not taken for its successor by a save under way that learns of it from another look at the log', async () => {
    const log = memoryLog()
    // Stopped between its parts and its manifest, as a process whose session ends meanwhile; its next turn reads on elsewhere.
    let goOn: () => void = () => {}
    const stopped = new Promise<void>(resolve => {
      goOn = resolve
    })
    let isStopping = false
    const first = checkpointStore({
      ...log,
      async append(topic, records) {
        const positions = await log.append(topic, records)
        if (isStopping) await stopped
        return positions
      }
    })
    const one = await claim(first, 1)
    await first.save(NAME, holding('one'), one)
    isStopping = true
    const refused = expect(first.save(NAME, holding('of the dead'), one)).rejects.toEqual(isFenced)
    for (let turn = 0; turn < 10; turn++) await new Promise(resolve => setImmediate(resolve))
    const second = checkpointStore(log)
    await second.save(NAME, holding('two'), await claim(second, 2))
    const third = checkpointStore(log)
    const three = await claim(third, 3)
    expect(await first.owns(NAME, one)).toBe(false)
    goOn()
    await refused
    expect(await found(log)).toBe('two')
    await third.save(NAME, holding('three'), three)
    expect(await found(log)).toBe('three')
  })

  it('takes in a save that came before its claim, though it had not seen it', async () => {
    const log = memoryLog()
    const first = checkpointStore(log)
    const one = await claim(first, 1)
    await first.save(NAME, holding('one'), one)
    let isSlow = true
    const second = checkpointStore({
      ...log,
      async append(topic, records) {
        if (isSlow) {
          isSlow = false
          await first.save(NAME, holding('just before the claim'), one)
        }
        return log.append(topic, records)
      }
    })
    await claim(second, 2)
    expect(textOf(await second.load(NAME))).toBe('just before the claim')
    expect(await found(log)).toBe('just before the claim')
  })

  it('is the one of a later assignment, unless the group was forgotten and counts anew', async () => {
    const log = memoryLog()
    const [late, early] = [checkpointStore(log), checkpointStore(log)]
    const owner = await claim(late, 7)
    await late.save(NAME, holding('seven'), owner)
    expect(await early.claim([{ name: NAME, generation: 6 }])).toMatchObject({ refused: [NAME] })
    await late.save(NAME, holding('still seven'), owner)
    const anew = await claim(early, 1, true)
    expect(textOf(await early.load(NAME))).toBe('still seven')
    await early.save(NAME, holding('one'), anew)
    await expect(late.save(NAME, holding('seven again'), owner)).rejects.toEqual(isFenced)
    expect(await found(log)).toBe('one')
  })

  it('takes over what an earlier release saved without owners', async () => {
    const log = memoryLog()
    const [before, after] = [checkpointStore(log), checkpointStore(log)]
    await before.save(NAME, holding('old'))
    const owner = await claim(after, 1)
    expect(textOf(await after.load(NAME))).toBe('old')
    await after.save(NAME, holding('new'), owner)
    await expect(before.save(NAME, holding('older release')), 'nobody saves without a claim any more').rejects.toEqual(isFenced)
    expect(await found(log)).toBe('new')
  })

  it('claims many names with two appends, refused ones apart', async () => {
    const log = memoryLog()
    const names = Array.from({ length: 200 }, (_, index) => `detect:homeostat.metrics.v1:${index}`)
    const [first, second] = [checkpointStore(log), checkpointStore(log)]
    await first.claim([{ name: names[3]!, generation: 9 }])
    let appends = 0
    const counted = checkpointStore({ ...log, append: (...args: Parameters<Log['append']>) => (appends++, log.append(...args)) })
    const { refused } = await counted.claim(names.map(name => ({ name, generation: 1 })))
    expect(refused).toEqual([names[3]])
    expect(appends).toBeLessThanOrEqual(2)
    expect(await second.owns(names[3]!, 'nobody')).toBe(false)
  })

  it('leaves nothing behind that grows with the number of owners', async () => {
    const log = memoryLog()
    for (let round = 1; round <= 30; round++) {
      const store = checkpointStore(log)
      const owner = await claim(store, round)
      await store.save(NAME, holding(`round ${round}`), owner)
    }
    const kept = await compacted(log).read({ topic: TOPIC, partition: 0, offset: 0 }, 1_000)
    const chunks = await compacted(log).read({ topic: TOPIC, partition: 1, offset: 0 }, 1_000)
    expect([kept.length, chunks.length]).toEqual([1, 1])
    expect(await found(log)).toBe('round 30')
  })

  it('never loses an acknowledged save nor forks, however claims and saves of three processes meet', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1_000_000 }), async seed => {
        const random = seededRandom(seed)
        const log = memoryLog()
        const turns = async (): Promise<void> => {
          for (let left = Math.floor(random.next() * TURNS_MAX); left > 0; left--) await new Promise(resolve => setImmediate(resolve))
        }
        const acknowledged: string[] = []
        let generation = 0
        async function life(process: number): Promise<void> {
          const store = checkpointStore({
            ...log,
            async append(topic, records) {
              await turns()
              const positions = await log.append(topic, records)
              await turns()
              return positions
            },
            async read(from, recordsMax) {
              await turns()
              return log.read(from, recordsMax)
            }
          })
          for (let term = 0; term < 4; term++) {
            const { owner, refused } = await store.claim([{ name: NAME, generation: ++generation }])
            if (refused.length > 0) continue
            // As a worker does: the state is what was loaded, and each save adds to it.
            let history = textOf(await store.load(NAME)) ?? ''
            for (let save = 0; save < 3; save++) {
              const entry = `${process}.${term}.${save}`
              history = history === '' ? entry : `${history} ${entry}`
              try {
                await store.save(NAME, holding(history), owner)
                acknowledged.push(entry)
              } catch (error) {
                expect(error).toEqual(isFenced)
                break
              }
            }
          }
        }
        await Promise.all([life(1), life(2), life(3)])
        const entries = ((await found(log)) ?? '').split(' ')
        expect(entries.filter(entry => acknowledged.includes(entry))).toEqual(acknowledged)
        expect(new Set(entries).size).toBe(entries.length)
      }),
      { numRuns: 60 }
    )
  })
})
