// A result in ClickHouse's JSONCompact form as rows: 64-bit integers become numbers when that loses nothing.
//
// ClickHouse is asked to quote 64-bit integers, so that JSON.parse cannot round them; the column types say which texts they are.
// Beyond 2^53 the exact decimal text stays. NaN and infinities come as the texts `nan`, `inf`, `-inf` and become numbers.

export interface CompactResult {
  meta: { name: string; type: string }[]
  data: unknown[][]
}

/** The rows as objects by column name. Cost: one pass; columns that need no change are copied. */
export function resultRows<Row>(result: CompactResult): Row[] {
  const converts = result.meta.map(column => converter(column.type))
  return result.data.map(values => {
    const row: Record<string, unknown> = {}
    for (let index = 0; index < values.length; index++) {
      const convert = converts[index]
      row[result.meta[index]!.name] = convert ? convert(values[index]) : values[index]
    }
    return row as Row
  })
}

type Convert = (value: unknown) => unknown

/** How to read values of a type, or undefined when JSON.parse already did. Tuples keep their texts. */
function converter(type: string): Convert | undefined {
  const [name, inner] = parts(type)
  if (name === 'Nullable' || name === 'LowCardinality' || name === 'SimpleAggregateFunction') {
    return converter(name === 'SimpleAggregateFunction' ? afterComma(inner) : inner)
  }
  if (name === 'UInt64' || name === 'Int64') return safeNumber
  if (name === 'Float64' || name === 'Float32') return float
  if (name === 'Array') {
    const each = converter(inner)
    return each && (value => (value as unknown[]).map(each))
  }
  if (name === 'Map') {
    const each = converter(afterComma(inner))
    return each && (value => Object.fromEntries(Object.entries(value as object).map(([key, held]) => [key, each(held)])))
  }
  return undefined
}

function safeNumber(value: unknown): unknown {
  if (typeof value !== 'string') return value
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

const FLOAT_TEXTS: Readonly<Record<string, number>> = { nan: Number.NaN, inf: Number.POSITIVE_INFINITY, '-inf': Number.NEGATIVE_INFINITY }

function float(value: unknown): unknown {
  return typeof value === 'string' ? (FLOAT_TEXTS[value] ?? Number(value)) : value
}

/** `Array(UInt64)` → ['Array', 'UInt64']; a type without arguments has none. */
function parts(type: string): [string, string] {
  const open = type.indexOf('(')
  return open < 0 ? [type, ''] : [type.slice(0, open), type.slice(open + 1, -1)]
}

/** The last argument of a two-argument type, whose first (a map's key, a function's name) has no comma outside parentheses. */
function afterComma(inner: string): string {
  let depth = 0
  for (let at = 0; at < inner.length; at++) {
    const char = inner[at]
    if (char === '(') depth++
    else if (char === ')') depth--
    else if (char === ',' && depth === 0) return inner.slice(at + 1).trim()
  }
  return inner
}
