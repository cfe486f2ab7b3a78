// Whether a client is told the route that a missing topic will have. Topics are made by the first
// message, and some clients send none without a route; but a route for every name hides from tools
// that a topic is not there. No request says which it is, so what the client is decides
// (docs/decisions/routes-of-unknown-topics.md).
import { isRetryTopic } from '../model/names.ts'
import { REQUEST, VERSION } from '../remoting/codes.ts'
import type { Command } from '../remoting/command.ts'

/**
 * A header field that Java's lite pull consumer adds to each of its requests; tools and producers
 * send none.
 */
const REQUEST_TYPE = 'ReqT'
/** Sent by our client, which falls back to the template or waits, and by newer tools. */
const STANDARD_JSON = 'acceptStandardJsonOnly'

/** The kind of client on a connection, as its requests have shown it. */
export class FirstUse {
  #isPushConsumer = false
  #isTool = false

  /** Each request of the connection, before it is answered. */
  hear({ code, fields }: Command): void {
    // Tools share a connection between their commands, and some ask for the retry topics of groups.
    if (code !== REQUEST.getRoute) this.#isTool = true
    else if (isRetryTopic(fields.get('topic') ?? '')) this.#isPushConsumer = true
  }

  /** Of the client that asks for the route of a missing topic. */
  wantsNewRoute({ language, version, fields }: Command): boolean {
    if (isRetryTopic(fields.get('topic') ?? '')) return true
    if (fields.get(STANDARD_JSON) === 'true') return false
    // Go's and others look for no template, or give up before they do.
    if (language !== 'JAVA') return true
    // ali-ons, which calls itself Java of this version, and has no use for the template.
    if (version <= VERSION.v3_4_9) return true
    if (fields.has(REQUEST_TYPE)) return true
    // The retry topic of its group is among what a push consumer asks for first. Told that its
    // topic is missing, it would not look again for 30 s. Producers take "missing" for a reason to
    // ask for the template, at once.
    return this.#isPushConsumer && !this.#isTool
  }
}
