// The fields of END_TRANSACTION straight from a scanned header.
import type { HeaderScan } from './header-scan.ts'
import { integerOf, textOf } from './pull-scan.ts'

export interface ScannedEnd {
  readonly producerGroup: string
  readonly tranStateTableOffset: number
  readonly commitLogOffset: number
  readonly commitOrRollback: number
}

/** undefined: something is missing or unusual; the general way says what. */
export function scanEnd(scan: HeaderScan): ScannedEnd | undefined {
  const producerGroup = textOf(scan, 'producerGroup')
  const tranStateTableOffset = integerOf(scan, 'tranStateTableOffset')
  const commitLogOffset = integerOf(scan, 'commitLogOffset')
  const commitOrRollback = integerOf(scan, 'commitOrRollback')
  const sum = tranStateTableOffset + commitLogOffset + commitOrRollback
  if (producerGroup === undefined || scan.find('msgId') === -1 || Number.isNaN(sum))
    return undefined
  return { producerGroup, tranStateTableOffset, commitLogOffset, commitOrRollback }
}
