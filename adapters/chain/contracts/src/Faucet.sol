// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

interface IMintable {
    function balanceOf(address owner) external view returns (uint256);
    function mint(address to, uint256 value) external;
}

/// Gives test tokens to whoever has few.
contract Faucet {
    IMintable public token; // slot 0, set by the genesis block

    uint256 public constant limit = 400 ether; // who has more gets none
    uint256 public constant amount = 1000 ether;

    function create() external {
        require(token.balanceOf(msg.sender) <= limit, "Cannot acquire more funds");
        token.mint(msg.sender, amount);
    }
}
