// The broker as a whole: what it is, how it is, and the rates of the last minutes.
import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { get, type Status } from './api.js'
import { bytes, count, Problem, time, useLoaded } from './parts.js'

const POINTS_MAX = 150
const CHART_HEIGHT = 220
/** As many seconds as the points take that are kept. */
const CHART_SECONDS = 300

interface Sample {
  readonly seconds: number
  readonly messagesIn: number
  readonly messagesOut: number
}

export function Overview() {
  const { value, error } = useLoaded(() => get<Status>('status'), [])
  const samples = useSamples(value)
  return (
    <section>
      <h1>{value === undefined ? 'Broker' : value.brokerName}</h1>
      <Problem error={error} />
      {value !== undefined && (
        <>
          {!value.writable && (
            <p class="problem" role="alert">
              The broker takes no messages: {value.reason ?? 'its disk failed'}.
            </p>
          )}
          {value.isRebuilding && (
            <p class="problem" role="alert">
              Views are being built again from the log; some reads wait.
            </p>
          )}
          <dl class="tiles">
            <Tile name="Topics" text={count(value.topics)} />
            <Tile name="Groups" text={count(value.groups)} />
            <Tile name="Clients" text={count(value.clients)} />
            <Tile name="Waiting for their time" text={count(value.pendingDelayed)} />
            <Tile name="Log on disk" text={bytes(value.diskBytes)} />
            <Tile name="Started (UTC)" text={time(value.startedAtMs)} />
          </dl>
        </>
      )}
      <h2>Messages per second</h2>
      <Rates samples={samples} />
    </section>
  )
}

const Tile = ({ name, text }: { readonly name: string; readonly text: string }) => (
  <div>
    <dt>{name}</dt>
    <dd>{text}</dd>
  </div>
)

function useSamples(status: Status | undefined): readonly Sample[] {
  const [samples, setSamples] = useState<readonly Sample[]>([])
  useEffect(() => {
    if (status === undefined) return
    const { messagesIn, messagesOut } = status
    const sample = { seconds: Date.now() / 1000, messagesIn, messagesOut }
    setSamples((old) => [...old.slice(1 - POINTS_MAX), sample])
  }, [status])
  return samples
}

/** Of two samples that follow each other. */
function ratesOf(samples: readonly Sample[]): [number[], number[], number[]] {
  const rates: [number[], number[], number[]] = [[], [], []]
  for (let at = 1; at < samples.length; at++) {
    const [before, now] = [samples[at - 1]!, samples[at]!]
    const seconds = Math.max(0.001, now.seconds - before.seconds)
    rates[0].push(now.seconds)
    rates[1].push(Math.max(0, now.messagesIn - before.messagesIn) / seconds)
    rates[2].push(Math.max(0, now.messagesOut - before.messagesOut) / seconds)
  }
  return rates
}

const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** In UTC, as all times of the pages. */
const timeOfDay = (seconds: number): string => time(seconds * 1000).slice(11)

/** The last minutes, however few of them were seen; without a point there is no newest one. */
function windowTo(newest: number | null): [number, number] {
  const to = newest ?? Date.now() / 1000
  return [to - CHART_SECONDS, to]
}

function Rates({ samples }: { readonly samples: readonly Sample[] }) {
  const place = useRef<HTMLDivElement>(null)
  const chart = useRef<uPlot | undefined>(undefined)
  const rates = ratesOf(samples)
  useEffect(() => {
    const element = place.current!
    const axis = {
      stroke: () => colour('--text'),
      grid: { stroke: () => colour('--grid'), width: 1 },
    }
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: CHART_HEIGHT,
        legend: { live: false },
        series: [
          {},
          { label: 'In', stroke: () => colour('--in'), width: 2 },
          { label: 'Out', stroke: () => colour('--out'), width: 2, dash: [6, 4] },
        ],
        axes: [
          { ...axis, space: 70, values: (_, splits) => splits.map(timeOfDay) },
          { ...axis, size: 70 },
        ],
        scales: {
          x: { range: (_, __, newest) => windowTo(newest) },
          y: { range: (_, __, max) => [0, Math.max(1, max)] },
        },
      },
      [[], [], []],
      element,
    )
    chart.current = plot
    const fit = new ResizeObserver(() =>
      plot.setSize({ width: element.clientWidth, height: CHART_HEIGHT }),
    )
    fit.observe(element)
    return () => {
      fit.disconnect()
      plot.destroy()
    }
  }, [])
  useEffect(() => chart.current?.setData(rates), [samples])
  const [, ins, outs] = rates
  const now = (all: readonly number[]): string => count(Math.round(all.at(-1) ?? 0))
  return (
    <figure>
      <div ref={place} role="img" aria-label="Messages in and out per second, as a line chart" />
      <figcaption>
        At present {now(ins)} in and {now(outs)} out. Times are UTC.
      </figcaption>
    </figure>
  )
}
