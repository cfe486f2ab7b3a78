// What a check of `trivet doctor` found: a sentence, and what to do where there is something to do.

export interface Finding {
  readonly check: string
  readonly state: 'ok' | 'warning' | 'failed'
  readonly text: string
  readonly advice?: string
}

export const ok = (check: string, text: string): Finding => ({ check, state: 'ok', text })

export const warning = (check: string, text: string, advice: string): Finding => ({
  ...{ check, state: 'warning', text, advice },
})

export const failed = (check: string, text: string, advice: string): Finding => ({
  ...{ check, state: 'failed', text, advice },
})
