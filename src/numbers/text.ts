// The numbers as a table of texts, for the native protocol's runtime values: 'name{label="value"}'
// and the number. Of a histogram: how many, their sum, and the values that half of them, 99 % and
// all do not exceed.
import { Histogram } from './histogram.ts'
import { keyOf, type Reading } from './numbers.ts'

const QUANTILES = [0.5, 0.99, 1]

export function numbersTable(readings: readonly Reading[]): Record<string, string> {
  const table: Record<string, string> = {}
  for (const { declared, labels, value } of readings) {
    const { name } = declared
    if (!(value instanceof Histogram)) {
      table[keyOf(name, labels)] = numberText(value)
      continue
    }
    table[keyOf(`${name}_count`, labels)] = numberText(value.count)
    table[keyOf(`${name}_sum`, labels)] = numberText(value.sum)
    for (const share of value.count > 0 ? QUANTILES : []) {
      const at = { ...labels, quantile: String(share) }
      table[keyOf(name, at)] = numberText(value.quantile(share))
    }
  }
  return table
}

const numberText = (value: number): string =>
  Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)))
