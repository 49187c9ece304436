// Seeded OTLP metrics requests of every kind, as a fleet of SDKs would send them: the common input of the benchmarks.
//
// Shape: one resource of eight attributes, one scope, metrics in turn of each kind, five to eight attributes a point
// (texts, integers, booleans, doubles), explicit histograms of 16 buckets, exponential ones of 20 to 60.
// The same options give the same bytes.

import { makeProtoWriter, type ProtoWriter } from '../../pipeline/otlp/proto-writer.ts'

export interface OtlpLoadOptions {
  seed: number
  metricCount: number
  /** Points of each metric. */
  pointCount: number
  /** Default `mixed`: all kinds; `numbers`: gauges and sums only. */
  kinds?: 'mixed' | 'numbers'
  /** Default `shop/checkout`. */
  namespace?: string
  service?: string
  /** Time of the points, epoch ms. Default a fixed day. */
  timeMs?: number
}

export interface OtlpLoad {
  request: Uint8Array
  pointCount: number
}

const FIXED_TIME_MS = 1_760_000_000_000
const KINDS = ['sum', 'gauge', 'histogram', 'sum', 'gauge', 'exponential', 'sum', 'gauge', 'summary', 'sum'] as const
const NUMBERS = ['sum', 'gauge'] as const
type Kind = (typeof KINDS)[number]

const METHODS = ['GET', 'POST', 'PUT', 'DELETE']
const ROUTES = ['/shop/basket/{basket}', '/shop/basket/{basket}/lines', '/shop/checkout', '/account/login', '/account/{id}/addresses', '/status']
const CODES = [200, 201, 204, 301, 400, 404, 500, 503]
const ZONES = ['eu-central-1a', 'eu-central-1b', 'eu-central-1c']
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30]
const QUANTILES = [0, 0.5, 0.9, 0.99, 1]
const RESOURCE_REST = {
  'service.version': '4.11.2',
  'host.name': 'node-17.fleet.internal',
  'cloud.region': 'eu-central-1',
  'k8s.cluster.name': 'live-3',
  'telemetry.sdk.language': 'nodejs',
  'telemetry.sdk.version': '2.12.0'
}

/** Uniform in [0, 1) from a 32-bit seed (xorshift32, Marsaglia 2003). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0 || 0x2545f491
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 4_294_967_296
  }
}

/** One ExportMetricsServiceRequest. */
export function otlpLoad(options: OtlpLoadOptions): OtlpLoad {
  const random = seededRandom(options.seed)
  const writer = makeProtoWriter()
  const { metricCount, pointCount, kinds = 'mixed', namespace = 'shop', service = 'checkout', timeMs = FIXED_TIME_MS } = options
  const cycle: readonly Kind[] = kinds === 'mixed' ? KINDS : NUMBERS
  writer.message(1, () => {
    writer.message(1, () => {
      const resource = { 'service.namespace': namespace, 'service.name': service, ...RESOURCE_REST }
      for (const [key, value] of Object.entries(resource)) attribute(writer, 1, key, value)
    })
    writer.message(2, () => {
      writer.message(1, () => {
        writer.text(1, '@shop/instrumentation-http')
        writer.text(2, '1.9.0')
      })
      for (let index = 0; index < metricCount; index++) {
        writer.message(2, () => metric(writer, random, cycle[index % cycle.length]!, index, pointCount, timeMs))
      }
    })
  })
  return { request: writer.finish(), pointCount: metricCount * pointCount }
}

const DATA_FIELD = { gauge: 5, sum: 7, histogram: 9, exponential: 10, summary: 11 } as const

function metric(writer: ProtoWriter, random: () => number, kind: Kind, index: number, pointCount: number, timeMs: number): void {
  writer.text(1, `http.server.${kind}.${index}`)
  writer.text(2, 'What the server measured of its requests.')
  writer.text(3, kind === 'sum' ? '{request}' : 's')
  writer.message(DATA_FIELD[kind], () => {
    for (let point = 0; point < pointCount; point++) writer.message(1, () => dataPoint(writer, random, kind, point, timeMs))
    if (kind === 'sum' || kind === 'histogram' || kind === 'exponential') writer.varint(2, kind === 'exponential' ? 1 : 2)
    if (kind === 'sum') writer.varint(3, 1)
  })
}

function dataPoint(writer: ProtoWriter, random: () => number, kind: Kind, point: number, timeMs: number): void {
  if (kind === 'exponential') attributes(writer, random, 1, point)
  writer.fixed64(2, BigInt(FIXED_TIME_MS - 3_600_000) * 1_000_000n)
  writer.fixed64(3, BigInt(timeMs) * 1_000_000n + BigInt(point) * 1_000n)
  switch (kind) {
    case 'gauge':
      writer.double(4, random() * 1000)
      break
    case 'sum':
      writer.fixed64(6, BigInt(Math.floor(random() * 1e6)))
      break
    case 'histogram':
      histogram(writer, random)
      break
    case 'exponential':
      exponential(writer, random)
      return
    case 'summary':
      summary(writer, random)
  }
  attributes(writer, random, kind === 'histogram' ? 9 : 7, point)
}

function counts(random: () => number, size: number, limit: number): number[] {
  return Array.from({ length: size }, () => Math.floor(random() ** 3 * limit))
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

function histogram(writer: ProtoWriter, random: () => number): void {
  const buckets = counts(random, BOUNDS.length + 1, 5000)
  writer.fixed64(4, BigInt(total(buckets)))
  writer.double(5, total(buckets) * random())
  writer.packedFixed64(6, buckets)
  writer.packedDoubles(7, BOUNDS)
  writer.double(11, random() * 0.01)
  writer.double(12, random() * 60)
}

function exponential(writer: ProtoWriter, random: () => number): void {
  const buckets = counts(random, 20 + Math.floor(random() * 41), 300)
  writer.fixed64(4, BigInt(total(buckets)))
  writer.double(5, total(buckets) * random())
  writer.sint32(6, 3)
  writer.fixed64(7, 0n)
  writer.message(8, () => {
    writer.sint32(1, -40 + Math.floor(random() * 30))
    writer.packedVarints(2, buckets)
  })
  writer.double(12, random() * 0.01)
  writer.double(13, random() * 60)
}

function summary(writer: ProtoWriter, random: () => number): void {
  writer.fixed64(4, BigInt(Math.floor(random() * 1e4)))
  writer.double(5, random() * 1e4)
  for (const quantile of QUANTILES) {
    writer.message(6, () => {
      writer.double(1, quantile)
      writer.double(2, random() * (quantile + 1))
    })
  }
}

/** Five to eight of them; the pod's name makes every point of a metric its own series. */
function attributes(writer: ProtoWriter, random: () => number, field: number, point: number): void {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!
  attribute(writer, field, 'http.request.method', pick(METHODS))
  attribute(writer, field, 'http.route', pick(ROUTES))
  attribute(writer, field, 'http.response.status_code', pick(CODES))
  attribute(writer, field, 'server.address', `checkout-${point % 40}.live.internal`)
  attribute(writer, field, 'k8s.pod.name', `checkout-5c8b7d6f49-${point.toString(36).padStart(5, 'q')}`)
  const more = Math.floor(random() * 4)
  if (more > 0) attribute(writer, field, 'network.protocol.version', pick(['1.1', '2']))
  if (more > 1) attribute(writer, field, 'tls.established', random() < 0.5)
  if (more > 2) attribute(writer, field, 'cloud.availability_zone', pick(ZONES))
}

function attribute(writer: ProtoWriter, field: number, key: string, value: string | number | boolean): void {
  writer.message(field, () => {
    writer.text(1, key)
    writer.message(2, () => {
      if (typeof value === 'string') writer.text(1, value)
      else if (typeof value === 'boolean') writer.varint(2, value ? 1 : 0)
      else writer.varint(3, value)
    })
  })
}
