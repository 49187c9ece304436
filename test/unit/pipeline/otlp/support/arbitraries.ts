// fast-check requests of every kind, as protobufjs objects: what senders send, and what no sender should.

import fc from 'fast-check'

const name = fc.oneof(
  fc.constantFrom('service.name', 'service.namespace', 'service.instance.id', 'host.name', 'deployment.environment.name', 'http.route', '__proto__', ''),
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'grapheme', maxLength: 6 })
)
const shortText = fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'grapheme', maxLength: 8 }), fc.string({ minLength: 120, maxLength: 200 }))
const double = fc.oneof(fc.double(), fc.integer({ min: -1000, max: 1000 }))
const nanoseconds = fc.oneof(
  fc.constant('0'),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(String),
  fc.bigInt({ min: 1_700_000_000_000_000_000n, max: 1_800_000_000_000_000_000n }).map(String)
)
const count = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.maxSafeNat())
const int32 = fc.oneof(fc.integer({ min: -40, max: 40 }), fc.integer())
const flags = fc.constantFrom(0, 0, 0, 1, 2, 3)

const { anyValue } = fc.letrec(tie => ({
  anyValue: fc.oneof(
    { maxDepth: 4 },
    { weight: 6, arbitrary: shortText.map(stringValue => ({ stringValue })) },
    { weight: 2, arbitrary: fc.boolean().map(boolValue => ({ boolValue })) },
    { weight: 2, arbitrary: fc.integer().map(intValue => ({ intValue })) },
    { weight: 1, arbitrary: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(value => ({ intValue: String(value) })) },
    { weight: 2, arbitrary: fc.double().map(doubleValue => ({ doubleValue })) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 12 }).map(bytesValue => ({ bytesValue })) },
    { weight: 1, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: fc.array(tie('anyValue'), { maxLength: 3 }).map(values => ({ arrayValue: { values } })) },
    {
      weight: 1,
      arbitrary: fc.array(fc.record({ key: name, value: tie('anyValue') }), { maxLength: 3 }).map(values => ({ kvlistValue: { values } }))
    }
  )
}))

const attributes = fc.uniqueArray(fc.record({ key: name, value: anyValue }), { maxLength: 8, selector: one => one.key })
const resource = fc.record({ attributes, droppedAttributesCount: fc.nat() })
const scope = fc.record({ name: shortText, version: shortText, attributes })
const exemplars = fc.array(fc.record({ timeUnixNano: nanoseconds, asDouble: double, filteredAttributes: attributes }), { maxLength: 1 })
const base = { attributes, startTimeUnixNano: nanoseconds, timeUnixNano: nanoseconds, flags, exemplars }

const numberPoint = fc
  .tuple(
    fc.record(base),
    fc.oneof(
      double.map(asDouble => ({ asDouble })),
      fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(asInt => ({ asInt: String(asInt) })),
      fc.integer().map(asInt => ({ asInt })),
      fc.constant({})
    )
  )
  .map(([point, value]) => ({ ...point, ...value }))

const histogramPoint = fc
  .tuple(
    fc.record(base),
    fc.record({ sum: double, min: double, max: double }, { requiredKeys: [] }),
    fc.uniqueArray(fc.double({ noNaN: true }), { maxLength: 20, comparator: (a, b) => a === b }),
    fc.array(count, { minLength: 21, maxLength: 21 }),
    fc.boolean(),
    count
  )
  .map(([point, optional, bounds, counts, isEmpty, total]) => ({
    ...point,
    ...optional,
    count: total,
    explicitBounds: isEmpty ? [] : bounds.sort((a, b) => a - b),
    bucketCounts: isEmpty ? [] : counts.slice(0, bounds.length + 1)
  }))

const buckets = fc.record({ offset: int32, bucketCounts: fc.array(count, { maxLength: 40 }) })
const exponentialPoint = fc
  .tuple(
    fc.record(base),
    fc.record({ sum: double, min: double, max: double, positive: buckets, negative: buckets, zeroThreshold: double }, { requiredKeys: [] }),
    fc.record({ count, scale: int32, zeroCount: count })
  )
  .map(([point, optional, required]) => ({ ...point, ...optional, ...required }))

const summaryPoint = fc
  .tuple(
    fc.record({ attributes, startTimeUnixNano: nanoseconds, timeUnixNano: nanoseconds, flags }),
    fc.record({ count, sum: double, quantileValues: fc.array(fc.record({ quantile: double, value: double }), { maxLength: 6 }) })
  )
  .map(([point, numbers]) => ({ ...point, ...numbers }))

const several = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(one, { maxLength: 4 })
const aggregationTemporality = fc.constantFrom(0, 1, 2)
const metricData = fc.oneof(
  several(numberPoint).map(dataPoints => ({ gauge: { dataPoints } })),
  fc.record({ dataPoints: several(numberPoint), aggregationTemporality, isMonotonic: fc.boolean() }).map(sum => ({ sum })),
  fc.record({ dataPoints: several(histogramPoint), aggregationTemporality }).map(histogram => ({ histogram })),
  fc.record({ dataPoints: several(exponentialPoint), aggregationTemporality }).map(exponentialHistogram => ({ exponentialHistogram })),
  several(summaryPoint).map(dataPoints => ({ summary: { dataPoints } })),
  fc.constant({})
)
const metric = fc
  .tuple(fc.record({ name: shortText, description: shortText, unit: fc.string({ maxLength: 4 }) }), metricData)
  .map(([texts, data]) => ({ ...texts, ...data }))

const optionalResource = fc.option(resource, { nil: null, freq: 6 })

export const metricsRequest = fc.record({
  resourceMetrics: fc.array(
    fc.record({ resource: optionalResource, scopeMetrics: fc.array(fc.record({ scope, metrics: several(metric) }), { maxLength: 2 }), schemaUrl: shortText }),
    { maxLength: 3 }
  )
})

const bytesOf = (size: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: size, maxLength: size })
const idOf = (size: number): fc.Arbitrary<Uint8Array> => fc.oneof({ weight: 5, arbitrary: bytesOf(size) }, { weight: 1, arbitrary: bytesOf(0) })
const span = fc.record({
  ...{ traceId: idOf(16), spanId: idOf(8), parentSpanId: idOf(8), traceState: shortText, name: shortText, kind: fc.integer({ min: 0, max: 5 }) },
  ...{ startTimeUnixNano: nanoseconds, endTimeUnixNano: nanoseconds, attributes, droppedAttributesCount: fc.nat() },
  events: fc.array(fc.record({ timeUnixNano: nanoseconds, name: shortText, attributes }), { maxLength: 2 }),
  links: fc.array(fc.record({ traceId: bytesOf(16), spanId: bytesOf(8), attributes }), { maxLength: 2 }),
  status: fc.record({ message: shortText, code: fc.constantFrom(0, 1, 2) }, { requiredKeys: [] }),
  flags: fc.nat()
})

export const traceRequest = fc.record({
  resourceSpans: fc.array(fc.record({ resource: optionalResource, scopeSpans: fc.array(fc.record({ scope, spans: several(span) }), { maxLength: 2 }) }), {
    maxLength: 3
  })
})

const logRecord = fc.record({
  ...{ timeUnixNano: nanoseconds, observedTimeUnixNano: nanoseconds, severityNumber: fc.integer({ min: 0, max: 24 }), severityText: shortText },
  ...{ body: anyValue, attributes, flags: fc.nat(), traceId: idOf(16), spanId: idOf(8), eventName: shortText }
})

export const logsRequest = fc.record({
  resourceLogs: fc.array(
    fc.record({ resource: optionalResource, scopeLogs: fc.array(fc.record({ scope, logRecords: several(logRecord) }), { maxLength: 2 }) }),
    {
      maxLength: 3
    }
  )
})
