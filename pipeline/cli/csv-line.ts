// One line of a CSV file: its fields, and where they stand, for messages that name the place.

export interface CsvField {
  text: string
  /** Column of its first character, from 1. */
  column: number
}

/** Fields of one line, trimmed; quoted ones as RFC 4180 has them (within a line). @param unclosed told where a quote without an end begins */
export function splitCsvLine(line: string, unclosed: (column: number) => never): CsvField[] {
  const fields: CsvField[] = []
  for (let at = 0; at <= line.length; ) {
    while (line[at] === ' ' || line[at] === '\t') at++
    const column = at + 1
    if (line[at] !== '"') {
      const end = line.indexOf(',', at)
      const stop = end < 0 ? line.length : end
      fields.push({ text: line.slice(at, stop).trim(), column })
      at = stop + 1
      continue
    }
    let text = ''
    for (at++; ; at++) {
      if (at >= line.length) return unclosed(column)
      if (line[at] !== '"') text += line[at]
      else if (line[at + 1] === '"') {
        text += '"'
        at++
      } else break
    }
    fields.push({ text, column })
    const end = line.indexOf(',', at)
    at = end < 0 ? line.length + 1 : end + 1
  }
  return fields
}
