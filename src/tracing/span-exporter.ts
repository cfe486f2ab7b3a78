// OpenTelemetry's SDK and its OTLP exporter: optional packages, loaded when tracing is switched on.
import type * as Api from '@opentelemetry/api'
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Numbers } from '../numbers/numbers.ts'
import { LOST, SENT } from './numbers.ts'
import type { TracingOptions } from './options.ts'

/** Spans that wait to be sent. */
const QUEUE_SPANS_MAX = 8_192
const BATCH_SPANS_MAX = 512
const BATCH_MS = 1_000
/** A stop may take so long for a receiver that does not answer. */
const EXPORT_MS = 5_000

export interface TracerParts {
  readonly log: Logger
  readonly numbers: Numbers
  readonly version: string
  readonly instance: string
}

export interface SpanTarget {
  readonly api: typeof Api
  readonly tracer: Api.Tracer
  /** Do fewer spans wait than may? */
  readonly hasRoom: boolean
  /** A span was made, and will end. */
  made(): void
  /** Sends what waits, or gives it up when that takes too long. */
  close(): Promise<void>
}

/** @throws BrokerError CONFIG_INVALID where the packages are not installed */
export async function openSpanTarget(
  endpoint: string,
  { serviceName }: TracingOptions,
  parts: TracerParts,
): Promise<SpanTarget> {
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await loadPackages()
  const exporter = new CountedExporter(
    new OTLPTraceExporter({ url: endpoint, timeoutMillis: EXPORT_MS }),
    parts,
  )
  const provider = new sdk.BasicTracerProvider({
    resource: resourceFromAttributes({
      'service.name': serviceName,
      'service.version': parts.version,
      'service.instance.id': parts.instance,
    }),
    // What is traced is decided before a span is made.
    sampler: new sdk.AlwaysOnSampler(),
    spanProcessors: [
      new sdk.BatchSpanProcessor(exporter, {
        maxQueueSize: QUEUE_SPANS_MAX,
        maxExportBatchSize: BATCH_SPANS_MAX,
        scheduledDelayMillis: BATCH_MS,
        exportTimeoutMillis: EXPORT_MS,
      }),
    ],
  })
  return {
    api,
    tracer: provider.getTracer('trivetmq', parts.version),
    get hasRoom() {
      return exporter.waiting < QUEUE_SPANS_MAX
    },
    made: () => {
      exporter.waiting++
    },
    // It rejects with what could not be sent, which was counted and logged.
    close: () => provider.shutdown().catch(() => {}),
  }
}

function loadPackages() {
  return Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ]).catch((cause: unknown) => {
    throw new BrokerError(
      'CONFIG_INVALID',
      `tracing.endpoint is set, and OpenTelemetry does not load (${(cause as Error).message}); ` +
        'install it beside trivetmq: npm install @opentelemetry/api@1.9 @opentelemetry/resources@2 ' +
        '@opentelemetry/sdk-trace-base@2 @opentelemetry/exporter-trace-otlp-http@0.223',
      { cause },
    )
  })
}

/** Counts what comes to the receiver, and says once that nothing does. */
class CountedExporter implements SpanExporter {
  waiting = 0
  readonly #exporter: SpanExporter
  readonly #log: Logger
  readonly #sent
  readonly #lost
  #isFailing = false

  constructor(exporter: SpanExporter, { log, numbers }: TracerParts) {
    this.#exporter = exporter
    this.#log = log
    this.#sent = numbers.counter(SENT)
    this.#lost = numbers.counter(LOST)
  }

  export(spans: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.#exporter.export(spans, (result) => {
      this.waiting -= spans.length
      const isTaken = result.code === 0
      const count = isTaken ? this.#sent : this.#lost
      count.value += spans.length
      if (!isTaken && !this.#isFailing) {
        const fields = { evt: 'tracing.not_sent', error: result.error?.message }
        this.#log.warn(fields, 'spans are not taken at tracing.endpoint; said once until they are')
      }
      this.#isFailing = !isTaken
      done(result)
    })
  }

  forceFlush(): Promise<void> {
    return this.#exporter.forceFlush?.() ?? Promise.resolve()
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown()
  }
}
