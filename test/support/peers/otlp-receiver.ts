// A receiver of OTLP over HTTP, as a collector is one: takes JSON, and keeps the spans.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { Teardown } from '../temp-dir.ts'
import { eventually } from '../waiting.ts'

export interface OtlpSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly traceState: string | undefined
  readonly name: string
  readonly kind: number
  /** 2: an error. */
  readonly status: number
  readonly attributes: Readonly<Record<string, unknown>>
  readonly resource: Readonly<Record<string, unknown>>
}

export interface OtlpReceiver {
  readonly endpoint: string
  readonly spans: readonly OtlpSpan[]
  /** What requests are answered with from here on. */
  answer(status: number): void
  /** Settles when there is a span of the name that fits. */
  span(name: string, fits?: (span: OtlpSpan) => boolean): Promise<OtlpSpan>
}

type Value = Readonly<Record<string, unknown>>
interface Attribute {
  readonly key: string
  readonly value: Value
}
interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] }
    readonly scopeSpans: readonly {
      readonly spans: readonly (Pick<
        OtlpSpan,
        'traceId' | 'spanId' | 'parentSpanId' | 'traceState' | 'name' | 'kind'
      > & { readonly attributes: readonly Attribute[]; readonly status: { code?: number } })[]
    }[]
  }[]
}

export async function otlpReceiver(t: Teardown): Promise<OtlpReceiver> {
  const spans: OtlpSpan[] = []
  let status = 200
  const server = createServer(async (request, response) => {
    const isJson = request.headers['content-type'] === 'application/json'
    const isRight = request.method === 'POST' && request.url === '/v1/traces' && isJson
    const answered = isRight ? status : 404
    const body = (await json(request)) as Export
    if (answered === 200) spans.push(...spansOf(body))
    response.writeHead(answered, { 'Content-Type': 'application/json' }).end('{}')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
    spans,
    answer: (given) => {
      status = given
    },
    span: async (name, fits = () => true) => {
      const found = (): OtlpSpan | undefined =>
        spans.find((span) => span.name === name && fits(span))
      await eventually(async () => found())
      return found()!
    },
  }
}

const spansOf = ({ resourceSpans }: Export): readonly OtlpSpan[] =>
  resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap((scope) =>
      scope.spans.map(({ attributes, status, ...span }) => ({
        ...span,
        status: status.code ?? 0,
        attributes: recordOf(attributes),
        resource: recordOf(resource.attributes),
      })),
    ),
  )

const recordOf = (attributes: readonly Attribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
