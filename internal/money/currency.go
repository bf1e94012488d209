package money

// These are the currencies of ISO 4217 (list one, active codes for payments) by the number of decimals of their minor
// unit. Funds codes, precious metals and testing codes (XAU, XTS, XXX, ...) are left out, because nobody pays with
// them.
const (
	noDecimals    = " BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF "
	threeDecimals = " BHD IQD JOD KWD LYD OMR TND "
	twoDecimals   = " AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN" +
		" BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS" +
		" GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR" +
		" LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD" +
		" PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN" +
		" SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW" +
		" ZWG "
)

// Known reports whether code is an active ISO 4217 currency code, in upper case.
func Known(code string) bool {
	return listed(twoDecimals, code) || listed(noDecimals, code) || listed(threeDecimals, code)
}

// Decimals returns the number of decimals of a currency: the exponent of ISO 4217, or two if the currency is unknown.
func Decimals(code string) int {
	switch {
	case listed(noDecimals, code):
		return 0
	case listed(threeDecimals, code):
		return 3
	}
	return 2
}

// listed finds a three-letter code without a map. The lists are short, and every entry starts at a multiple of four
// after the leading space.
func listed(list, code string) bool {
	if len(code) != 3 {
		return false
	}
	for i := 1; i+3 <= len(list); i += 4 {
		if list[i:i+3] == code {
			return true
		}
	}
	return false
}
