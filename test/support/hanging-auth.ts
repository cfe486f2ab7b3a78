// An authenticator whose password checks never come to an end: what a test learns is which are
// still wanted.
import type { Authenticator } from '../../src/access/auth.ts'
import { UserStore } from '../../src/access/user-store.ts'
import { FakeClock } from './fake-clock.ts'
import { overridden } from './overridden.ts'

export interface HangingAuth {
  readonly auth: Authenticator
  /** Checks that were asked for, and those of them that are still wanted. */
  asked: number
  wanted: number
}

export function hangingAuth(): HangingAuth {
  const open = new UserStore({}, new FakeClock())
  const hanging: HangingAuth = {
    auth: overridden(open, {
      anonymousAllowed: false,
      verifyPassword: (_user, _password, _address, signal) => {
        hanging.asked++
        hanging.wanted++
        return new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => {
            hanging.wanted--
            reject(signal.reason)
          })
        })
      },
    }),
    asked: 0,
    wanted: 0,
  }
  return hanging
}
