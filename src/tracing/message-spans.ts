// Spans of messages on their way through the broker: published, delivered, settled. Each is a child
// of the context that the message was created with, which goes on unchanged to its consumers.
import type { Attributes, Context, Span, SpanContext } from '@opentelemetry/api'
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Protocol } from '../model/client.ts'
import type { NewMessage, PublishReceipt } from '../model/message.ts'
import { editProperties, findProperty, PROPERTY } from '../model/properties.ts'
import type { RecordView } from '../model/record.ts'
import { originalTopic } from '../model/routing-name.ts'
import type { Counter, Numbers } from '../numbers/numbers.ts'
import { LEFT_OUT } from './numbers.ts'
import type { TracingOptions } from './options.ts'
import type { SpanTarget } from './span-exporter.ts'
import { formatTraceparent, parseTraceparent, TRACEPARENT, TRACESTATE } from './trace-context.ts'

const TRACEPARENT_BYTES = Buffer.from(TRACEPARENT)

/** Where a message goes to. */
export interface Delivery {
  readonly protocol: Protocol
  readonly group: string | undefined
  /** undefined where it is not counted: 1 more than the record says. */
  readonly attempt: number | undefined
}

/** A message on its way into the log. */
export interface Published {
  readonly span: Span
  /** With the context of the trace that begins here, where it came without one. */
  readonly message: NewMessage
}

export class MessageSpans {
  readonly #target: SpanTarget
  readonly #options: TracingOptions
  readonly #clock: Clock
  readonly #leftOut: Counter
  #secondMs = 0
  #spans = 0

  constructor(target: SpanTarget, options: TracingOptions, clock: Clock, numbers: Numbers) {
    this.#target = target
    this.#options = options
    this.#clock = clock
    this.#leftOut = numbers.counter(LEFT_OUT)
  }

  /** undefined: it is not traced. */
  publish(message: NewMessage, protocol: Protocol): Published | undefined {
    const { properties } = message
    const property = (name: string): string | undefined => findProperty(properties, name)
    const text = property(TRACEPARENT)
    const parent = text === undefined ? this.#root() : this.#parentOf(text, property(TRACESTATE))
    if (parent === undefined || !this.#mayMake()) return undefined
    const span = this.#start('publish', message.topic, parent, {
      ...attributesOf('publish', 'send', message.topic, protocol),
      ...messageAttributes(property),
      'messaging.message.body.size': message.body.length,
    })
    if (text !== undefined) return { span, message }
    const context = formatTraceparent(span.spanContext())
    return {
      span,
      message: { ...message, properties: editProperties(properties, [[TRACEPARENT, context]]) },
    }
  }

  /** It is on the disk, or was refused. */
  published({ span }: Published, result: PublishReceipt | BrokerError): void {
    if (result instanceof BrokerError) fail(span, result, this.#target)
    else {
      span.setAttributes({
        'messaging.destination.partition.id': String(result.queueId),
        'trivetmq.queue.offset': result.queueOffset,
        'trivetmq.broker.name': result.brokerName,
      })
    }
    span.end()
  }

  /** Might one of the records be traced? */
  mayBeTraced(records: Buffer): boolean {
    return records.includes(TRACEPARENT_BYTES)
  }

  /** It was handed out. The context for what becomes of it; undefined: it is not traced. */
  delivered(record: RecordView, { protocol, group, attempt }: Delivery): SpanContext | undefined {
    const property = (name: string): string | undefined => record.property(name)
    const text = property(TRACEPARENT)
    const parent = text === undefined ? undefined : this.#parentOf(text, property(TRACESTATE))
    if (parent === undefined || !this.#mayMake()) return undefined
    const topic = originalTopic(record)
    const span = this.#start('deliver', topic, parent, {
      ...attributesOf('deliver', 'receive', topic, protocol),
      ...messageAttributes(property),
      ...(group !== undefined && { 'messaging.consumer.group.name': group }),
      'messaging.message.body.size': record.bodyLength,
      'messaging.destination.partition.id': String(record.queueId),
      'trivetmq.queue.offset': record.queueOffset,
      'trivetmq.delivery.attempt': attempt ?? record.reconsumeTimes + 1,
    })
    span.end()
    return span.spanContext()
  }

  /** A consumer said what became of the delivery; `ended` says whether that holds. */
  settle(
    delivery: SpanContext,
    outcome: string,
    protocol: Protocol,
  ): ((refused: BrokerError | null) => void) | undefined {
    if (!this.#mayMake()) return undefined
    const { api } = this.#target
    const parent = api.trace.setSpanContext(api.ROOT_CONTEXT, delivery)
    const span = this.#start('settle', undefined, parent, {
      ...attributesOf(outcome, 'settle', undefined, protocol),
    })
    return (refused) => {
      if (refused !== null) fail(span, refused, this.#target)
      span.end()
    }
  }

  #start(
    operation: string,
    topic: string | undefined,
    parent: Context,
    attributes: Attributes,
  ): Span {
    const { api, tracer } = this.#target
    const name = topic === undefined ? operation : `${operation} ${topic}`
    return tracer.startSpan(name, { kind: api.SpanKind.SERVER, attributes }, parent)
  }

  #parentOf(text: string, state: string | undefined): Context | undefined {
    const parent = parseTraceparent(text)
    if (parent === undefined || !parent.isSampled) return undefined
    const { api } = this.#target
    const { traceId, spanId } = parent
    return api.trace.setSpanContext(api.ROOT_CONTEXT, {
      ...{ traceId, spanId, isRemote: true, traceFlags: api.TraceFlags.SAMPLED },
      ...(state !== undefined && { traceState: api.createTraceState(state) }),
    })
  }

  #root(): Context | undefined {
    const { ratio } = this.#options
    return ratio > 0 && Math.random() < ratio ? this.#target.api.ROOT_CONTEXT : undefined
  }

  #mayMake(): boolean {
    const nowMs = this.#clock.monotonic()
    if (nowMs - this.#secondMs >= 1_000) {
      this.#secondMs = nowMs
      this.#spans = 0
    }
    if (this.#spans >= this.#options.spansPerSecondMax || !this.#target.hasRoom) {
      this.#leftOut.value++
      return false
    }
    this.#spans++
    this.#target.made()
    return true
  }
}

const fail = (span: Span, { code, message }: BrokerError, { api }: SpanTarget): void => {
  span.setAttribute('error.type', code)
  span.setStatus({ code: api.SpanStatusCode.ERROR, message })
}

/** By OpenTelemetry's conventions for messaging. */
const attributesOf = (
  operation: string,
  type: string,
  topic: string | undefined,
  protocol: Protocol,
): Attributes => ({
  'messaging.system': 'rocketmq',
  'messaging.operation.name': operation,
  'messaging.operation.type': type,
  ...(topic !== undefined && { 'messaging.destination.name': topic }),
  'network.protocol.name': protocol === 'remoting' ? 'rocketmq' : protocol,
})

function messageAttributes(property: (name: string) => string | undefined): Attributes {
  const id = property(PROPERTY.uniqueKey)
  const tag = property(PROPERTY.tags)
  const keys = property(PROPERTY.keys)
  return {
    ...(id !== undefined && { 'messaging.message.id': id }),
    ...(tag !== undefined && { 'messaging.rocketmq.message.tag': tag }),
    ...(keys !== undefined && { 'messaging.rocketmq.message.keys': keys.split(' ') }),
  }
}
