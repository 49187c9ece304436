// bench decode: OTLP bytes -> (series, time, value), all kinds of metrics, against protobufjs and the Collector's decoder.
//
// Same bytes for all; points, series and the sum of all values are compared before anything is measured. Ours is reader + series
// key + look-up of the series in a table, on one core. Goals: 20 times protobufjs + sorted-string key, 4 times Go's decode
// without any key. The ratios are of CPU time a point (all cases compute, none waits); those by the clock stand beside them.
//
// Two requests: 10,000 points (a Collector's full batch; the figures of the JSON line) and 200 points (one process' export).

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openReader } from '../../pipeline/otlp/reader.ts'
import type { OtlpReader, PointSink, PointView } from '../../schemas/otlp.ts'
import { buildGoPeer, goAnswer, goCase } from './go-pdata.ts'
import { type BenchCase, type BenchOptions, type BenchResult, figure, interleave, loopCase, medianRatio, printTable, say } from './harness.ts'
import { otlpLoad } from './otlp-load.ts'
import { decodeWithProtobufjs, keyWithProtobufjs, type PeerAnswer } from './protobufjs-peer.ts'

const SEED = 20_261
const GOAL_VS_PROTOBUFJS = 20
const GOAL_VS_GO = 4
/** Sums of the same numbers in another order differ in their last digits. */
const SUM_TOLERANCE = 1e-9
const TABLE_SLOTS = 32_768 // Power of two, more than three times the series of the input.
const SLOT_INTS = 4

export async function decodeBench({ rounds }: BenchOptions): Promise<BenchResult> {
  const large = otlpLoad({ seed: SEED, metricCount: 100, pointCount: 100 }).request
  const small = otlpLoad({ seed: SEED, metricCount: 20, pointCount: 10 }).request
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-bench-'))
  try {
    const file = join(folder, 'request.bin')
    writeFileSync(file, large)
    const program = await buildGoPeer()
    const answer = await compareAnswers(large, program, file)
    compareWithProtobufjs(small)
    say(`input: ${large.length} bytes, ${answer.pointCount} points of all kinds, ${answer.seriesCount} series; same answers from all: yes`)
    return await measure(large, small, program, file, rounds)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function measure(large: Uint8Array, small: Uint8Array, program: string | undefined, file: string, rounds: number): Promise<BenchResult> {
  const cases = [...casesFor(large), ...(program ? [goCase(program, file)] : [])]
  const results = await interleave(cases, { rounds })
  printTable('decode: one request of 10,000 points', 'point', results)
  const smallResults = await interleave(casesFor(small), { rounds })
  printTable('decode: one request of 200 points', 'point', smallResults)
  const [ours, protobufjs, , go] = results
  const vsProtobufjs = figure(medianRatio(ours!, protobufjs!, 'cpu'))
  const vsGo = go ? figure(medianRatio(ours!, go, 'cpu')) : null
  say(
    `\nvs protobufjs + key ${vsProtobufjs}x (goal ${GOAL_VS_PROTOBUFJS}x), vs Go decode only ${vsGo === null ? 'not measured' : `${vsGo}x`} (goal ${GOAL_VS_GO}x)`
  )
  return {
    vsProtobufjs,
    vsGo,
    pointsPerS: Math.round(ours!.medianPerS),
    cpuNsPerPoint: Math.round(ours!.cpuMicros * 1000),
    vsProtobufjsWall: figure(medianRatio(ours!, protobufjs!)),
    vsGoWall: go ? figure(medianRatio(ours!, go)) : null,
    vsProtobufjsSmall: figure(medianRatio(smallResults[0]!, smallResults[1]!, 'cpu')),
    pointsPerSSmall: Math.round(smallResults[0]!.medianPerS),
    rounds: ours!.samples.length
  }
}

function casesFor(request: Uint8Array): BenchCase[] {
  const reader = aReader()
  const sink = new SeriesSink()
  const series = new Map<string, number>()
  return [
    loopCase('ours: reader + key + series look-up', () => reader.readMetrics(request, sink).accepted),
    loopCase('protobufjs 8, compiled decoders, + sorted-string key', () => keyWithProtobufjs(request, series).pointCount),
    loopCase('protobufjs 8, compiled decoders, decode only', () => decodeWithProtobufjs(request))
  ]
}

function aReader(): OtlpReader {
  return openReader({ fallback: { entity: 'bench', environment: 'bench' }, seed: SEED })
}

/** @returns our answer. @throws when another decoder answers otherwise */
async function compareAnswers(request: Uint8Array, program: string | undefined, file: string): Promise<PeerAnswer> {
  const ours = compareWithProtobufjs(request)
  if (program) expectSame('Go', ours, { ...(await goAnswer(program, file)), seriesCount: ours.seriesCount })
  return ours
}

function compareWithProtobufjs(request: Uint8Array): PeerAnswer {
  const sink = new SeriesSink()
  aReader().readMetrics(request, sink)
  const ours = { pointCount: sink.pointCount, seriesCount: sink.seriesCount, valueSum: sink.valueSum }
  expectSame('protobufjs', ours, keyWithProtobufjs(request, new Map()))
  return ours
}

function expectSame(name: string, ours: PeerAnswer, theirs: PeerAnswer): void {
  const isSameSum = Math.abs(ours.valueSum - theirs.valueSum) <= SUM_TOLERANCE * Math.abs(theirs.valueSum)
  if (ours.pointCount === theirs.pointCount && ours.seriesCount === theirs.seriesCount && isSameSum) return
  throw new Error(`bench decode: our answer ${JSON.stringify(ours)} is not that of ${name}: ${JSON.stringify(theirs)}`)
}

/** A detector reduced to its first step: which series is this? Open addressing, slots of key lanes and index in first-seen order. */
class SeriesSink implements PointSink {
  pointCount = 0
  seriesCount = 0
  valueSum = 0
  private readonly slots = new Int32Array(TABLE_SLOTS * SLOT_INTS)

  point(view: PointView): void {
    this.pointCount++
    this.valueSum += view.kind < 2 ? view.value : distributionSum(view)
    this.seriesIndex(view.keyLow, view.keyHigh)
  }

  /** Index of the series, a new one at first sight. The table is never full: the input has fewer series than slots. */
  private seriesIndex(low: number, high: number): number {
    const { slots } = this
    for (let slot = low & (TABLE_SLOTS - 1); ; slot = (slot + 1) & (TABLE_SLOTS - 1)) {
      const at = slot * SLOT_INTS
      const index = slots[at + 2]! - 1
      if (index >= 0 && slots[at] === low && slots[at + 1] === high) return index
      if (index >= 0) continue
      slots[at] = low
      slots[at + 1] = high
      slots[at + 2] = ++this.seriesCount
      return this.seriesCount - 1
    }
  }
}

/** As the peers do: sum, buckets and quantile values, so that none of them can go unread. */
function distributionSum(view: PointView): number {
  const { buckets, bucketCount, quantileValues, quantileCount } = view
  let sum = view.sum
  for (let index = 0; index < bucketCount; index++) sum += buckets[index]!
  for (let index = 0; index < quantileCount; index++) sum += quantileValues[index]!
  return sum
}
