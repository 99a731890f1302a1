package onchain

const gwei = 1_000_000_000

// profiles hold what the Golem Network has deployed, sorted by name. All
// tokens have 18 decimals. Source: the contracts themselves, and the driver
// settings that existing nodes ship.
var profiles = []Profile{
	{
		ChainID: 80002, Network: "amoy", TokenSymbol: "tGLM", GasCoin: "POL", GasCoinName: "Test POL",
		Token:         MustAddress("0x2b60e60d3fb0b36a7ccb388f9e71570da4c4594f"),
		MultiTransfer: MustAddress("0xa0a51642a594763d78091bf03ee6bf8e8d663bba"),
		Faucet:        MustAddress("0xf29ff8a13211ac33861986e407190ae5c773d53c"),
		Wrapper:       MustAddress("0xa7b4447c1447edeb40ebbb1943e90b169ff44560"),
		Tip:           30.111 * gwei, MaxFee: 500 * gwei, Confirmations: 1, FinalDepth: 128, Fundable: true,
	},
	{
		ChainID: 17000, Network: "holesky", TokenSymbol: "tGLM", GasCoin: "tETH", GasCoinName: "Holesky Ether",
		Token:         MustAddress("0x8888888815bf4DB87e57B609A50f938311EEd068"),
		MultiTransfer: MustAddress("0xAaAAAaA00E1841A63342db7188abA84BDeE236c7"),
		Faucet:        MustAddress("0xFACe100969FF47EB58d2CF603321B581A84bcEaC"),
		Wrapper:       MustAddress("0xE168bCa171ccf51066E2106d8955BF22705a6905"),
		Lock:          MustAddress("0xfe1B27Bac0e3Ad39d55C9459ae59894De847dcbf"),
		Tip:           0.000001 * gwei, MaxFee: 20 * gwei, Confirmations: 1, FinalDepth: 64, Fundable: true,
	},
	{
		ChainID: 560048, Network: "hoodi", TokenSymbol: "tGLM", GasCoin: "tETH", GasCoinName: "Hoodi Ether",
		Token:         MustAddress("0x55555555555556AcFf9C332Ed151758858bd7a26"),
		MultiTransfer: MustAddress("0x222222222220C9269Cfb43eD434888F604d1dC21"),
		Faucet:        MustAddress("0x500F965199C63865A3E666cA3fF55B64F1c8Bc8b"),
		Wrapper:       MustAddress("0x7E69E00E00293D80F0f3E7e0Db5eab6D5d4E0EfF"),
		Lock:          MustAddress("0x472ef33B51f65FB2aDa50ffeB0e4A72e9ac22f52"),
		Tip:           0.000001 * gwei, MaxFee: 20 * gwei, Confirmations: 1, FinalDepth: 64, Fundable: true,
	},
	{
		ChainID: 1, Network: "mainnet", TokenSymbol: "GLM", GasCoin: "ETH", GasCoinName: "Ether",
		Token:         MustAddress("0x7DD9c5Cba05E151C895FDe1CF355C9A1D5DA6429"),
		MultiTransfer: MustAddress("0xCfD497F7D111F14c3eF7eBEeE63771d1506f0AF8"),
		Tip:           1.01 * gwei, MaxFee: 40 * gwei, Confirmations: 1, FinalDepth: 64,
	},
	{
		ChainID: 137, Network: "polygon", TokenSymbol: "GLM", GasCoin: "POL", GasCoinName: "Polygon",
		Token:         MustAddress("0x0B220b82F3eA3B7F6d9A1D8ab58930C064A2b5Bf"),
		MultiTransfer: MustAddress("0x50100d4faf5f3b09987dea36dc2eddd57a3e561b"),
		Wrapper:       MustAddress("0xbB6aad747990BB6F7f56851556A3277e474C656a"),
		Tip:           25.011 * gwei, MaxFee: 500 * gwei, Confirmations: 1, FinalDepth: 128,
	},
	{
		ChainID: 11155111, Network: "sepolia", TokenSymbol: "tGLM", GasCoin: "tETH", GasCoinName: "Sepolia Ether",
		Token:  MustAddress("0x167b15ada84c63427c6c813B915a42eFC72E7175"),
		Faucet: MustAddress("0x31A2a20956a40c2F358Fa5cec59D55a9C5d6fF9A"),
		Tip:    0.000001 * gwei, MaxFee: 20 * gwei, Confirmations: 1, FinalDepth: 64, Fundable: true,
	},
}
