// The numbers as text for Prometheus (exposition format 0.0.4), written in slices: a broker may
// have thousands of series.
import { type Clock, Slice } from '../clock.ts'
import type { Labels } from './declared.ts'
import { Histogram } from './histogram.ts'
import type { Reading } from './numbers.ts'

/** Series that are written between two looks at the time. */
const LOOK_EVERY = 64

/** By RocketMQ's names, which have RocketMQ's labels. */
const APACHE = 'rocketmq_'

/**
 * @param readings those of one name one after the other
 * @param node labels that each of RocketMQ's numbers has
 */
export async function exposition(
  readings: readonly Reading[],
  node: Labels,
  clock: Clock,
): Promise<string> {
  const slice = new Slice(clock)
  const nodeText = labelsText(node)
  const lines: string[] = []
  let name = ''
  let common = ''
  for (const [at, { declared, labels, value }] of readings.entries()) {
    if (at % LOOK_EVERY === 0 && slice.isOver) await slice.rest()
    if (declared.name !== name) {
      name = declared.name
      common = name.startsWith(APACHE) ? nodeText : ''
      lines.push(`# HELP ${name} ${helpText(declared.help)}\n# TYPE ${name} ${declared.kind}\n`)
    }
    const own = joined(common, labelsText(labels))
    if (value instanceof Histogram) lines.push(histogramText(name, own, value))
    else lines.push(`${name}${braced(own)} ${numberText(value)}\n`)
  }
  return lines.join('')
}

function histogramText(name: string, labels: string, value: Histogram): string {
  let text = ''
  let count = 0
  for (const [at, bound] of value.bounds.entries()) {
    count += value.counts[at]!
    text += `${name}_bucket${braced(joined(labels, `le="${bound}"`))} ${count}\n`
  }
  text += `${name}_bucket${braced(joined(labels, 'le="+Inf"'))} ${value.count}\n`
  return `${text}${name}_sum${braced(labels)} ${numberText(value.sum)}\n${name}_count${braced(labels)} ${value.count}\n`
}

const braced = (labels: string): string => (labels === '' ? '' : `{${labels}}`)

const joined = (a: string, b: string): string => (a === '' ? b : b === '' ? a : `${a},${b}`)

function labelsText(labels: Labels): string {
  let text = ''
  for (const name in labels)
    text += `${text === '' ? '' : ','}${name}="${labelText(labels[name]!)}"`
  return text
}

/** Names of clients may hold anything. */
const labelText = (value: string): string =>
  /[\\"\n]/.test(value)
    ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    : value

const helpText = (help: string): string => help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')

/** JavaScript writes numbers as Go reads them, but for these. */
function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value)
}
